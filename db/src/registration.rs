//! A writer's row in `analytics.writers`, which tells the fate of its last batches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    Acknowledged, Store, StoreError, Undecided, attempt::Attempt, known_visitors::KnownVisitors, losses::StoredBatches,
    writer::WriteError,
};

/// The row of a writer, if it has one, and what it left.
#[derive(Default)]
pub(crate) struct Registration {
    row: Option<Registered>,
    left: Option<Acknowledged>,
}

/// A row, and what holds for as long as it stands where the writer left it.
pub(crate) struct Registered {
    pub(crate) id: i64,
    /// The number of the last attempt. None is given twice, whatever came of it: a batch that was called not stored, and is, could otherwise pass for the
    /// next one.
    last_number: i64,
    /// The number of the last batch that is known to be stored.
    last_batch: i64,
    stored: StoredBatches,
    /// Batches under way add to it when they are answered.
    known: Arc<Mutex<KnownVisitors>>,
}

impl Registered {
    async fn anew(store: &Store) -> Result<Self, StoreError> {
        let id = store.row("select analytics.register_writer()", &[]).await?.get(0);
        Ok(Self { id, last_number: 0, last_batch: 0, stored: StoredBatches::default(), known: Arc::default() })
    }

    pub(crate) fn last_batch(&self) -> i64 {
        self.last_batch
    }

    pub(crate) fn next_number(&mut self) -> i64 {
        self.last_number += 1;
        self.last_number
    }

    /// Who it was told is committed.
    pub(crate) fn known(&self) -> MutexGuard<'_, KnownVisitors> {
        lock(&self.known)
    }

    /// The same for a batch under way.
    pub(crate) fn share_known(&self) -> Arc<Mutex<KnownVisitors>> {
        Arc::clone(&self.known)
    }

    /// Notes that a batch is stored.
    pub(crate) fn stands_at(&mut self, number: i64, events: u64) {
        self.last_batch = number;
        self.stored.add(number, events);
    }

    /// Notes that the row stands behind a batch of no events.
    pub(crate) fn is_proven(&mut self, number: i64) {
        self.last_batch = number;
        self.stored.stands();
    }

    fn into_acknowledged(self) -> Acknowledged {
        Acknowledged { writer: self.id, stored: self.stored }
    }
}

impl Registration {
    /// The row; the writer registers if it has none.
    pub(crate) async fn row(&mut self, store: &Store) -> Result<&mut Registered, StoreError> {
        let row = match self.row.take() {
            Some(row) => row,
            None => Registered::anew(store).await?,
        };
        Ok(self.row.insert(row))
    }

    pub(crate) fn registered(&mut self) -> Option<&mut Registered> {
        self.row.as_mut()
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.row.is_some()
    }

    pub(crate) fn take_left(&mut self) -> Option<Acknowledged> {
        self.left.take()
    }

    pub(crate) fn into_acknowledged(self) -> Option<Acknowledged> {
        self.row.map(Registered::into_acknowledged)
    }

    /// What comes after an attempt that failed: why it may be made again, or what the caller is told. Those of the batches `behind` it that
    /// were sent before its answer share its fate.
    pub(crate) fn after(&mut self, number: i64, behind: Vec<i64>, failed: Attempt) -> Result<StoreError, WriteError> {
        match failed {
            Attempt::NotSent(cause) | Attempt::Refused(cause) => Err(WriteError::NotStored(cause)),
            Attempt::StoredByAnother(cause) => Ok(cause),
            Attempt::NotRegistered(cause) => {
                self.begin_anew();
                Ok(cause)
            }
            Attempt::FateUnknown(cause) => Err(match self.row.take() {
                Some(row) => {
                    WriteError::Undecided(Undecided { batch: number, behind, before: row.into_acknowledged(), cause })
                }
                None => WriteError::NotStored(cause),
            }),
        }
    }

    /// Leaves a row that is gone, fenced or stands elsewhere, or that may be held.
    pub(crate) fn begin_anew(&mut self) {
        // One by which nothing was stored tells of no loss.
        if let Some(row) = self.row.take().filter(|row| !row.stored.is_empty()) {
            self.left = Some(row.into_acknowledged());
        }
    }
}

/// What a batch under way locks, it leaves whole.
pub(crate) fn lock(known: &Mutex<KnownVisitors>) -> MutexGuard<'_, KnownVisitors> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
