//! What a client did, and what it was told.

use std::time::{Duration, Instant};

use model::{Event, Hour, HourCounts};

/// What a client learned about the events that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 204: they are committed.
    Acknowledged,
    /// 202: they are on the daemon's disk and will be committed.
    Queued,
    /// An error, which promises that nothing is stored.
    Refused,
    /// The connection died before an answer, so nobody can say.
    Unknown,
    /// No connection could be opened, so nothing was sent.
    Unsent,
}

impl Outcome {
    /// Whether the events may be stored when everything has come to rest.
    pub fn may_be_stored(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Queued | Self::Unknown)
    }
}

/// What a client did.
#[derive(Debug, Clone)]
pub enum Action {
    /// It sent events, in one request.
    Send {
        /// The events.
        events: Vec<Event>,
        /// What came of them.
        outcome: Outcome,
    },
    /// It asked for the counts of an hour.
    Read {
        /// The hour.
        hour: Hour,
        /// The answer; none if it was an error or did not come.
        counts: Option<HourCounts>,
    },
    /// It was given an answer that is promised to nobody; kept besides what it was an answer to.
    Protest {
        /// What was asked for, and the answer.
        why: String,
    },
    /// It did something to an hour that no counter may notice; kept for the story.
    Disturb {
        /// The hour.
        hour: Hour,
        /// What it did, as a word in the past tense.
        what: &'static str,
    },
}

/// One request of one client, by this process's monotonic clock.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Which client.
    pub client: u32,
    /// Before the first byte was sent.
    pub began: Instant,
    /// After the last byte of the answer, or when it was clear that there will be none.
    pub ended: Instant,
    /// What was done, and what came of it.
    pub action: Action,
}

impl Operation {
    /// How long the client waited.
    pub fn took(&self) -> Duration {
        self.ended - self.began
    }

    /// What came of the events that were sent; none where none were.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.action {
            Action::Send { outcome, .. } => Some(outcome),
            Action::Read { .. } | Action::Protest { .. } | Action::Disturb { .. } => None,
        }
    }

    /// Whether the daemon did what it was asked.
    pub fn succeeded(&self) -> bool {
        match &self.action {
            Action::Send { outcome, .. } => matches!(outcome, Outcome::Acknowledged | Outcome::Queued),
            Action::Read { counts, .. } => counts.is_some(),
            Action::Protest { .. } | Action::Disturb { .. } => true,
        }
    }
}
