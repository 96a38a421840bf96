//! What a request waits with in a lane, and what it can be told.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use db::Claim;
use model::{Event, Hour, IdempotencyKey, Submission, wire::MAX_BATCH_HOURS};
use thiserror::Error;
use tokio::{sync::oneshot, time::Instant};

use crate::ingest::{expired::Expired, limits::body_budget::BodyShare};

/// A request that has waited longer than this is refused instead of stored: its sender has probably given up.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Events that were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// They are committed.
    Committed,
    /// The database is away; they are on this machine's disk and will be committed once it is back.
    Spooled,
}

/// Events that were not acknowledged. Except where it says so, they are not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum IngestError {
    /// Too many are waiting already, or waited too long.
    #[error("too many requests are waiting")]
    TooBusy,
    /// Their hour was settled and is being rebuilt for them, which takes longer than a request may wait.
    #[error("the hour is being rebuilt")]
    Rebuilding,
    /// The database is away. The cause is logged.
    #[error("the database does not answer")]
    Unavailable,
    /// The database, though there, did not accept them. The cause is logged.
    #[error("the database refused")]
    Refused,
    /// The raw events of an hour are gone, so they cannot be counted exactly.
    #[error("the raw events of that hour are no longer kept")]
    Expired(Expired),
    /// Another request was stored under the same idempotency key.
    #[error("the idempotency key belongs to another request")]
    Conflict,
    /// Nobody knows whether they are stored: the connection died during the commit and the database did not come back in time.
    #[error("it is not known whether the events are stored")]
    Unknown,
}

/// The events of one request, and who waits for what becomes of them.
pub(crate) struct Job {
    pub(crate) submission: Submission,
    pub(crate) claims: Vec<Claim>,
    /// How many commits it went into of which nothing was stored.
    pub(crate) tries: u8,
    /// The same request, sent by others: they are told what this one is told.
    followers: Vec<Job>,
    arrived: Instant,
    _share: Option<BodyShare>,
    answer: oneshot::Sender<Result<Accepted, IngestError>>,
}

impl Job {
    pub(crate) fn new(
        submission: Submission,
        share: Option<BodyShare>,
    ) -> (Self, oneshot::Receiver<Result<Accepted, IngestError>>) {
        let (answer, answered) = oneshot::channel();
        let claims = Claim::all_of(&submission);
        let job = Self {
            submission,
            claims,
            tries: 0,
            followers: Vec::new(),
            arrived: Instant::now(),
            _share: share,
            answer,
        };
        (job, answered)
    }

    /// Nobody listens when the client has hung up.
    pub(crate) fn answer(self, answer: Result<Accepted, IngestError>) {
        answer_all(self.followers, answer);
        let _ = self.answer.send(answer);
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.arrived + LONGEST_WAIT
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.arrived.elapsed() >= LONGEST_WAIT
    }

    /// Its first event that lies in one of these hours.
    pub(crate) fn first_in(&self, hours: &HashSet<Hour>) -> Option<&Event> {
        self.submission.events.iter().find(|event| hours.contains(&event.hour()))
    }

    pub(crate) fn touches(&self, hours: &HashSet<Hour>) -> bool {
        !hours.is_empty() && self.first_in(hours).is_some()
    }

    /// Whether the other is the same request under the same keys, so that what becomes of one is true of both.
    pub(crate) fn is_repeated_by(&self, other: &Self) -> bool {
        let is_all_keyed = |job: &Self| {
            let keyed: usize = job.submission.keyed.iter().map(|keyed| keyed.events.len()).sum();
            keyed == job.submission.events.len()
        };
        !self.claims.is_empty() && self.claims == other.claims && is_all_keyed(self) && is_all_keyed(other)
    }

    /// Tells the other what this one is told.
    pub(crate) fn lead(&mut self, other: Self) {
        self.followers.push(other);
    }

    /// Takes out the events of some keys, which are stored already. `left_out` are places in [`Submission::keyed`].
    pub(crate) fn leave_out(&mut self, left_out: &HashSet<usize>) {
        self.submission = std::mem::take(&mut self.submission).without(left_out);
        self.claims = Claim::all_of(&self.submission);
    }
}

pub(crate) fn answer_all(jobs: impl IntoIterator<Item = Job>, answer: Result<Accepted, IngestError>) {
    for job in jobs {
        job.answer(answer);
    }
}

/// What goes together into one commit.
pub(crate) struct Room {
    max_events: usize,
    events: usize,
    hours: HashSet<Hour>,
    submissions: usize,
    /// Which submission holds it, by its place.
    keys: HashMap<(Hour, IdempotencyKey), usize>,
}

/// Whether a submission goes into a commit that is being put together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It does, and is counted.
    Fits,
    /// The commit is full.
    Full,
    /// The commit holds one of its keys already, in the submission of this place, so what becomes of it is known only after that commit.
    SameKey(usize),
}

impl Room {
    pub(crate) fn new(max_events: usize) -> Self {
        Self { max_events, events: 0, hours: HashSet::new(), submissions: 0, keys: HashMap::new() }
    }

    /// The first always fits, whatever its size.
    pub(crate) fn take(&mut self, submission: &Submission, claims: &[Claim]) -> Fit {
        let keys = || claims.iter().map(|claim| (claim.hour, claim.key.clone()));
        if let Some(&holder) = keys().find_map(|key| self.keys.get(&key)) {
            return Fit::SameKey(holder);
        }
        let events = self.events + submission.events.len();
        let more = submission.events.iter().map(Event::hour).filter(|hour| !self.hours.contains(hour));
        let more: HashSet<Hour> = more.collect();
        if self.events > 0 && (events > self.max_events || self.hours.len() + more.len() > MAX_BATCH_HOURS) {
            return Fit::Full;
        }
        self.events = events;
        self.hours.extend(more);
        self.keys.extend(keys().map(|key| (key, self.submissions)));
        self.submissions += 1;
        Fit::Fits
    }
}
