//! Bounds the memory that the bodies of batches take together, however many clients send them and however slowly.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// The most bytes of batches that are held at a time, each from its arrival until its batch is answered: eight of the largest batches.
/// The memory that they take is about the same for long names and up to twice as much for short ones, since events take their place.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes are counted in pieces of this many, so that a client that sends byte by byte does not cost a permit each time.
const PIECE_BYTES: usize = 1024;

/// What all batches share.
#[derive(Clone)]
pub struct BodyBudget(Arc<Semaphore>);

impl Default for BodyBudget {
    /// All of it is there.
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BYTES / PIECE_BYTES)))
    }
}

impl BodyBudget {
    /// Lets it be read among the numbers of the daemon how much is taken.
    pub fn watch(&self, metrics: &Metrics) {
        let budget = Arc::downgrade(&self.0);
        metrics.watch_use(
            ("analyticsd_body_budget_used_bytes", "Bytes of batches that are held until they are answered"),
            (
                "analyticsd_body_budget_limit_bytes",
                "The most bytes of batches that are held; beyond it the answer is 503",
            ),
            vec![],
            move || Some((MAX_BYTES - budget.upgrade()?.available_permits() * PIECE_BYTES, MAX_BYTES)),
        );
    }

    /// The share of one batch: nothing yet. It is given back when it is dropped.
    pub(crate) fn share(&self) -> BodyShare {
        BodyShare { budget: Arc::clone(&self.0), held: None }
    }
}

/// What one batch holds of the budget.
pub struct BodyShare {
    budget: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl BodyShare {
    /// Takes what is missing for so many bytes in all; false if the others leave too little, and then it holds what it held.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(PIECE_BYTES).saturating_sub(held);
        if missing == 0 {
            return true;
        }
        let Ok(missing) = u32::try_from(missing) else { return false };
        let Ok(more) = Arc::clone(&self.budget).try_acquire_many_owned(missing) else { return false };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{BodyBudget, MAX_BYTES};

    #[test]
    fn a_share_holds_what_it_grew_to_until_it_is_dropped() {
        let budget = BodyBudget::default();
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.grow_to(1) && one.grow_to(1_024) && one.grow_to(MAX_BYTES / 2));
        assert!(other.grow_to(MAX_BYTES / 2));
        assert!(!other.grow_to(MAX_BYTES / 2 + 1), "the budget is used up");
        drop(one);
        assert!(other.grow_to(MAX_BYTES));
        assert!(!other.grow_to(usize::MAX));
        drop(other);
        assert!(budget.share().grow_to(MAX_BYTES), "all of it came back");
    }
}
