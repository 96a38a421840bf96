//! Bounds the memory that the bodies of all batches take together, however many clients send them and however slowly.
//! It keeps room for clients that hold none.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{auth::network::network, telemetry::metrics::Metrics};

/// The most bytes of batches in memory, eight of the largest batches. A byte counts from its arrival until its batch is
/// answered. For long names the batches take about this much memory; for short names up to twice as much, because
/// parsed events replace the bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// A share grows in steps of this size, so that a client that sends byte by byte does not cost a lookup for each.
const PIECE_BYTES: usize = 1024;

/// The budget that all batches share.
///
/// One holder may take at most as much as it leaves free. So one holder gets at most half, the next at most half of the
/// rest, and so on. A holder with little is refused only when little is left.
#[derive(Clone, Default)]
pub(crate) struct BodyBudget(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    bytes: usize,
    /// Only holders with a batch under way are in this map.
    by_holder: HashMap<Holder, usize>,
}

/// The client that a batch is charged to: its token, or its address if it came without a token.
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
    /// Adds the use of the budget to the metrics.
    pub(crate) fn watch(&self, metrics: &Metrics) {
        let budget = Arc::downgrade(&self.0);
        metrics.watched.used(
            ("analyticsd_body_budget_used_bytes", "Bytes of batches in memory that are not answered yet"),
            (
                "analyticsd_body_budget_limit_bytes",
                "The most bytes of batches in memory; beyond it the daemon returns 503",
            ),
            vec![],
            move || Some((lock(&*budget.upgrade()?).bytes, MAX_BYTES)),
        );
    }

    /// The share of one batch of a holder, empty at first. Dropping it returns the bytes to the budget.
    pub(crate) fn share(&self, holder: Holder) -> BodyShare {
        BodyShare { budget: Arc::clone(&self.0), holder, bytes: 0 }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of the budget that one batch holds.
pub(crate) struct BodyShare {
    budget: Arc<Mutex<Held>>,
    holder: Holder,
    bytes: usize,
}

impl BodyShare {
    /// Grows the share to `bytes` in all. Returns false, and changes nothing, if the holder would then have more than
    /// it leaves free.
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
    fn a_share_keeps_its_bytes_until_it_is_dropped() {
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
    fn all_batches_of_a_holder_together_take_at_most_as_much_as_they_leave_free() {
        let budget = BodyBudget::default();
        let mut shares = Vec::new();
        for (holder, most) in [("a", MAX_BYTES / 2), ("b", MAX_BYTES / 4), ("c", MAX_BYTES / 8)] {
            let [mut one, mut other] = [budget.share(token(holder)), budget.share(token(holder))];
            assert!(one.grow_to(most / 2) && other.grow_to(most / 2), "{holder}");
            assert!(!one.grow_to(most / 2 + 1) && !other.grow_to(most / 2 + 1), "{holder}");
            shares.extend([one, other]);
        }
        // The bytes of seven of the largest batches are taken, and an ordinary batch still finds room.
        assert!(budget.share(token("d")).grow_to(1_000_000));
        assert!(!shares[0].grow_to(MAX_BYTES / 4 + 1));
        shares.drain(2..);
        assert!(!shares[0].grow_to(MAX_BYTES / 4 + 1), "half of all is the most");
    }

    #[test]
    fn a_client_without_a_token_is_an_address_or_a_network() {
        let of = |address: IpAddr| Holder::new(None, address);
        let [one, same, other] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| of(text.parse::<Ipv6Addr>().unwrap().into()));
        assert!(one == same && one != other);
        assert_ne!(of(Ipv4Addr::LOCALHOST.into()), token("a"));
        assert_eq!(token("a"), Holder::new(Some("a".into()), Ipv4Addr::BROADCAST.into()));
    }
}
