//! What is told of events that cannot be counted exactly, because raw events of their hour are gone.

use chrono::{DateTime, Utc};
use model::{Hour, Timestamp};

/// An event that lies in an hour whose raw events are no longer kept, or not all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired {
    /// When it happened; of several such events of a request the first.
    pub(crate) at: Timestamp,
    /// From when on events are accepted, if the database could be asked; 1970 where all are.
    pub(crate) accepts_from: Option<DateTime<Utc>>,
}

impl Expired {
    /// Whether retention did not pass its hour, so that somebody else deleted raw events of it.
    pub(crate) fn is_within_retention(self) -> bool {
        self.accepts_from.is_some_and(|from| from.timestamp_millis() <= self.at.millis())
    }
}

/// Raw events of an hour are missing, which nothing of ours deletes.
pub(crate) fn log_missing_events(hour: Hour) {
    tracing::error!(
        %hour,
        "raw events of a settled hour are missing, so it cannot be opened again for a late event; its counts stay as they are, and its events are \
         refused. `analytics-cli verify` shows what is left of it"
    );
}
