//! What became of batches that nobody was told of. Their writer's row knows: it holds the number of the last batch that was stored in its name, a number is
//! given to one attempt only, and none is stored unless the one before it is.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Store, StoreError,
    fence::fence,
    losses::{Acknowledged, Loss},
};

/// Pauses between attempts to find out what became of a batch: doubled each time, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A batch whose connection died before the answer, whose statement was given up, or that was answered with an error that proves nothing: stored or not,
/// and the database knows.
#[derive(Debug, Error)]
#[error("no answer says whether batch {batch} of writer {} is stored: {cause}", before.writer)]
#[must_use = "somebody waits to hear whether the batch is stored"]
pub struct Undecided {
    pub(crate) batch: i64,
    /// Those that were sent behind it before its answer, ascending.
    pub(crate) behind: Vec<i64>,
    /// What its writer stored before.
    pub(crate) before: Acknowledged,
    pub(crate) cause: StoreError,
}

/// What became of an [`Undecided`] batch.
#[derive(Debug)]
pub enum Fate {
    /// It is committed.
    Stored {
        /// How many of those behind it are committed too, the first ones. Nothing of the others is stored, and nothing will be.
        behind: usize,
        /// What came in place of an answer.
        cause: StoreError,
    },
    /// Certainly nothing of it is stored, nor of what is behind it, and nothing will be.
    NotStored {
        /// What came in place of an answer.
        cause: StoreError,
        /// What else is not stored, though it was: the database has gone back to an earlier state.
        loss: Option<Loss>,
    },
    /// The database did not tell in time.
    Unknown {
        /// What it said, or that it said nothing.
        cause: StoreError,
        /// What its writer stored before.
        before: Acknowledged,
    },
}

impl Undecided {
    /// What came in place of an answer.
    pub fn cause(&self) -> &StoreError {
        &self.cause
    }

    /// What its writer stored before, for those who do not find out what became of the batch itself.
    pub fn take_before(&mut self) -> Acknowledged {
        Acknowledged { writer: self.before.writer, stored: std::mem::take(&mut self.before.stored) }
    }

    /// Whether the database said that it gave the statement up.
    pub fn was_cancelled(&self) -> bool {
        matches!(self.cause, StoreError::Cancelled(_))
    }

    /// Asks the database, as soon as it answers again and for `patience` at most, whether the batch was stored. Its writer has ended,
    /// so that what is still on its way cannot be stored after the answer.
    pub async fn find_out(self, store: &Store, patience: Duration) -> Fate {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let left = patience.saturating_sub(began.elapsed());
            let cause = match timeout(left, fence(store, self.before.writer)).await {
                Ok(Ok(Some(last_stored))) if last_stored >= self.batch => {
                    let behind = self.behind.iter().filter(|&&batch| batch <= last_stored).count();
                    return Fate::Stored { behind, cause: self.cause };
                }
                Ok(Ok(stands)) => {
                    let loss = self.before.missing_behind(stands);
                    return Fate::NotStored { cause: self.cause, loss };
                }
                Ok(Err(cause)) => cause,
                Err(_) => StoreError::TimedOut(patience),
            };
            if began.elapsed() + pause > patience {
                return Fate::Unknown { cause, before: self.before };
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
