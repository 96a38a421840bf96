//! Bounds the memory that the bodies of batches take together, however many clients send them and however slowly, and keeps room in it for those who hold
//! none.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{auth::network::network, telemetry::metrics::Metrics};

/// The most bytes of batches that are held at a time, each from its arrival until its batch is answered: eight of the largest batches.
/// The memory that they take is about the same for long names and up to twice as much for short ones, since events take their place.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes are taken in pieces of this many, so that a client that sends byte by byte does not cost a lookup each time.
const PIECE_BYTES: usize = 1024;

/// What all batches share.
///
/// One holder may have as much as it leaves to all others, so that half of all is the most that one can have, and each one more who wants as much
/// as possible finds half of what is left. A holder who has little is only refused when little is left.
#[derive(Clone, Default)]
pub(crate) struct BodyBudget(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    bytes: usize,
    /// Of those who hold any, who are not more than there are batches under way.
    by_holder: HashMap<Holder, usize>,
}

/// Who holds what a batch takes: whoever has the token that it came with, or the address that it came from if it came with none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Token(Box<str>),
    Address(IpAddr),
}

impl Holder {
    pub(crate) fn new(token: Option<Box<str>>, client: IpAddr) -> Self {
        token.map_or_else(|| Self::Address(network(client)), Self::Token)
    }
}

impl BodyBudget {
    /// Lets it be read among the numbers of the daemon how much is taken.
    pub(crate) fn watch(&self, metrics: &Metrics) {
        let budget = Arc::downgrade(&self.0);
        metrics.watch_use(
            ("analyticsd_body_budget_used_bytes", "Bytes of batches that are held until they are answered"),
            (
                "analyticsd_body_budget_limit_bytes",
                "The most bytes of batches that are held; beyond it the answer is 503",
            ),
            vec![],
            move || Some((lock(&*budget.upgrade()?).bytes, MAX_BYTES)),
        );
    }

    /// The share of one batch of a holder: nothing yet. It is given back when it is dropped.
    pub(crate) fn share(&self, holder: Holder) -> BodyShare {
        BodyShare { budget: Arc::clone(&self.0), holder, bytes: 0 }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one batch holds of the budget.
pub(crate) struct BodyShare {
    budget: Arc<Mutex<Held>>,
    holder: Holder,
    bytes: usize,
}

impl BodyShare {
    /// Takes what is missing for so many bytes in all; false if its holder would leave less to all others than it has itself, and then it holds what it held.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_next_multiple_of(PIECE_BYTES).map(|bytes| bytes.saturating_sub(self.bytes))
        else {
            return false;
        };
        if more == 0 {
            return true;
        }
        let mut held = lock(&self.budget);
        let by_holder = held.by_holder.get(&self.holder).copied().unwrap_or_default().saturating_add(more);
        let by_all = held.bytes.saturating_add(more);
        if by_all > MAX_BYTES || by_holder > MAX_BYTES - by_all {
            return false;
        }
        held.bytes = by_all;
        match held.by_holder.get_mut(&self.holder) {
            Some(of_holder) => *of_holder = by_holder,
            None => {
                held.by_holder.insert(self.holder.clone(), by_holder);
            }
        }
        drop(held);
        self.bytes += more;
        true
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = lock(&self.budget);
        held.bytes -= self.bytes;
        let rest = held.by_holder.get_mut(&self.holder).map(|of_holder| {
            *of_holder -= self.bytes;
            *of_holder
        });
        if rest == Some(0) {
            held.by_holder.remove(&self.holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::{BodyBudget, Holder, MAX_BYTES, lock};

    fn token(id: &str) -> Holder {
        Holder::new(Some(id.into()), Ipv4Addr::LOCALHOST.into())
    }

    #[test]
    fn a_share_holds_what_it_grew_to_until_it_is_dropped() {
        let budget = BodyBudget::default();
        let mut share = budget.share(token("a"));
        assert!(share.grow_to(1) && share.grow_to(1_024) && share.grow_to(MAX_BYTES / 4));
        assert_eq!(lock(&budget.0).bytes, MAX_BYTES / 4);
        assert!(!share.grow_to(MAX_BYTES) && !share.grow_to(usize::MAX), "a holder never has all of it");
        assert_eq!(lock(&budget.0).bytes, MAX_BYTES / 4);
        drop(share);
        let held = lock(&budget.0);
        assert!(held.bytes == 0 && held.by_holder.is_empty(), "all of it came back");
    }

    #[test]
    fn a_holder_has_as_much_as_it_leaves_to_others_in_all_its_batches_together() {
        let budget = BodyBudget::default();
        let mut shares = Vec::new();
        for (holder, most) in [("a", MAX_BYTES / 2), ("b", MAX_BYTES / 4), ("c", MAX_BYTES / 8)] {
            let [mut one, mut other] = [budget.share(token(holder)), budget.share(token(holder))];
            assert!(one.grow_to(most / 2) && other.grow_to(most / 2), "{holder}");
            assert!(!one.grow_to(most / 2 + 1) && !other.grow_to(most / 2 + 1), "{holder}");
            shares.extend([one, other]);
        }
        // So much as seven of the largest batches have is taken, and an ordinary one still finds room.
        assert!(budget.share(token("d")).grow_to(1_000_000));
        assert!(!shares[0].grow_to(MAX_BYTES / 4 + 1));
        shares.drain(2..);
        assert!(!shares[0].grow_to(MAX_BYTES / 4 + 1), "half of all is the most");
    }

    #[test]
    fn who_has_no_token_is_an_address_or_a_network() {
        let of = |address: IpAddr| Holder::new(None, address);
        let [one, same, other] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| of(text.parse::<Ipv6Addr>().unwrap().into()));
        assert!(one == same && one != other);
        assert_ne!(of(Ipv4Addr::LOCALHOST.into()), token("a"));
        assert_eq!(token("a"), Holder::new(Some("a".into()), Ipv4Addr::BROADCAST.into()));
    }
}
