//! What a database lost that had acknowledged it. A standby that lagged behind and was promoted does not have the last batches of its primary. Each
//! writer knows which batches were acknowledged to it, and its row in the database says which of them the database has.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::{Examination, Store, StoreError, fence::fence};

/// How many of its last batches a writer remembers. A standby that lagged behind by more lost more than can be told.
const MAX_REMEMBERED: usize = 65_536;
/// The settler deletes rows of writers that were idle for a day. For how long after its last batch a missing row is a loss, which is shorter
/// by far, since clocks differ.
const ROW_LIVES: Duration = Duration::from_hours(12);

/// Batches that were acknowledged, and that the database does not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The writer whose batches they were.
    pub writer: i64,
    /// How many there were.
    pub batches: u64,
    /// How many events they held.
    pub events: u64,
    /// Whether there were more, which the writer does not remember.
    pub at_least: bool,
}

/// The losses of the last seven days that daemons wrote down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotedLosses {
    /// How many batches.
    pub batches: u64,
    /// How many events they held.
    pub events: u64,
    /// When the last of them was noticed; none if there was none.
    pub last_noticed_at: Option<DateTime<Utc>>,
}

/// The batches that a writer was told are committed.
#[derive(Debug, Default)]
pub(crate) struct StoredBatches {
    /// Their numbers, ascending, and how many events each held.
    remembered: VecDeque<(i64, u64)>,
    /// Whether there were batches before those.
    is_cut: bool,
    last_at: Option<Instant>,
}

/// What one writer was told is committed. Whoever leaves the writer keeps it until the database has said that it has all of that.
#[derive(Debug)]
#[must_use = "nobody else can tell whether the database lost it"]
pub struct Acknowledged {
    pub(crate) writer: i64,
    pub(crate) stored: StoredBatches,
}

impl Acknowledged {
    /// What of it the database does not have any more. Ends the writer.
    pub async fn missing(&self, store: &Store) -> Result<Option<Loss>, StoreError> {
        Ok(self.missing_behind(fence(store, self.writer).await?))
    }

    /// The same where the writer's row says that the last stored batch was `stands`; none: the row is not there.
    pub(crate) fn missing_behind(&self, stands: Option<i64>) -> Option<Loss> {
        self.stored.missing(self.writer, stands)
    }
}

impl StoredBatches {
    pub(crate) fn is_empty(&self) -> bool {
        self.remembered.is_empty()
    }

    pub(crate) fn add(&mut self, batch: i64, events: u64) {
        if self.remembered.len() == MAX_REMEMBERED {
            self.remembered.pop_front();
            self.is_cut = true;
        }
        self.remembered.push_back((batch, events));
        self.last_at = Some(Instant::now());
    }

    /// The row stands where its writer left it.
    pub(crate) fn stands(&mut self) {
        self.last_at = Some(Instant::now());
    }

    /// Which of them are missing where the writer's row says that the last stored batch was `stands`; none: the row is not there.
    fn missing(&self, writer: i64, stands: Option<i64>) -> Option<Loss> {
        let is_tidied_up = stands.is_none() && self.last_at.is_none_or(|at| at.elapsed() > ROW_LIVES);
        if is_tidied_up {
            return None;
        }
        let lost = self.remembered.partition_point(|&(batch, _)| batch <= stands.unwrap_or(0));
        let batches = (self.remembered.len() - lost) as u64;
        let events = self.remembered.range(lost..).map(|&(_, events)| events).sum();
        (batches > 0).then_some(Loss { writer, batches, events, at_least: lost == 0 && self.is_cut })
    }
}

impl Examination {
    /// What daemons found lost in the last seven days.
    pub async fn losses(&self) -> Result<NotedLosses, StoreError> {
        self.look(async |transaction| {
            let row = transaction
                .query_one(
                    "select coalesce(sum(batches), 0)::bigint, coalesce(sum(events), 0)::bigint, max(noticed_at) \
                     from analytics.losses where noticed_at > now() - interval '7 days'",
                    &[],
                )
                .await?;
            let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
            Ok(NotedLosses { batches: number(0), events: number(1), last_noticed_at: row.get(2) })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::{Loss, MAX_REMEMBERED, StoredBatches};

    #[test]
    fn what_lies_behind_the_place_where_the_row_stands_is_missing() {
        let mut stored = StoredBatches::default();
        assert_eq!(stored.missing(7, None), None);
        for (batch, events) in [(1, 10), (2, 20), (5, 50)] {
            stored.add(batch, events);
        }
        let loss = |batches, events| Some(Loss { writer: 7, batches, events, at_least: false });
        assert_eq!(stored.missing(7, Some(5)), None);
        assert_eq!(stored.missing(7, Some(2)), loss(1, 50));
        assert_eq!(stored.missing(7, Some(3)), loss(1, 50));
        assert_eq!(stored.missing(7, Some(0)), loss(3, 80));
        assert_eq!(stored.missing(7, None), loss(3, 80));
    }

    #[test]
    fn a_loss_of_more_than_is_remembered_says_so() {
        let mut stored = StoredBatches::default();
        let batches = i64::try_from(MAX_REMEMBERED).unwrap() + 1;
        (1..=batches).for_each(|batch| stored.add(batch, 1));
        assert!(stored.missing(7, Some(0)).unwrap().at_least);
        assert!(!stored.missing(7, Some(batches - 1)).unwrap().at_least);
    }
}
