use std::time::{Duration, Instant};

use model::{HourCounts, SiteEvent, SiteHour};

/// What a client knows about the events that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 204: they are committed.
    Acknowledged,
    /// 202: they are on the daemon's disk and will be committed.
    Queued,
    /// An error, which promises that nothing is stored.
    Refused,
    /// The connection broke before an answer.
    Unknown,
    /// No connection could be opened, so nothing was sent.
    Unsent,
}

impl Outcome {
    /// Whether the events may be stored in the end.
    pub(crate) fn may_be_stored(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Queued | Self::Unknown)
    }
}

#[derive(Debug, Clone)]
pub enum Action {
    /// One request.
    Send { events: Vec<SiteEvent>, outcome: Outcome },
    /// `counts` is none if there was an error or no answer.
    Read { hour: SiteHour, counts: Option<HourCounts> },
    /// An answer that the daemon must never give, in addition to the operation itself.
    Protest { why: String },
    /// A change of an hour of a site that must not change its counts, such as "settled".
    Disturb { hour: SiteHour, what: &'static str },
}

/// One request of one client. Times are of this process's monotonic clock.
#[derive(Debug, Clone)]
pub struct Operation {
    pub client: u32,
    /// Before the first byte was sent.
    pub began: Instant,
    /// After the last byte of the answer, or when it was clear that there is no answer.
    pub ended: Instant,
    pub action: Action,
}

impl Operation {
    pub(crate) fn took(&self) -> Duration {
        self.ended - self.began
    }

    /// None if no events were sent.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.action {
            Action::Send { outcome, .. } => Some(outcome),
            Action::Read { .. } | Action::Protest { .. } | Action::Disturb { .. } => None,
        }
    }

    pub(crate) fn succeeded(&self) -> bool {
        match &self.action {
            Action::Send { outcome, .. } => matches!(outcome, Outcome::Acknowledged | Outcome::Queued),
            Action::Read { counts, .. } => counts.is_some(),
            Action::Protest { .. } | Action::Disturb { .. } => true,
        }
    }
}
