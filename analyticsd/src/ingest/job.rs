//! A request that waits in a lane, and the answers that it can get.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use db::Claim;
use model::{
    EventKind, Hour, IdempotencyKey, SiteEvent, SiteHour, SiteId, SourceName, SourcePosition, SourceStanding,
    SourceStep, Submission, wire::MAX_BATCH_HOURS,
};
use thiserror::Error;
use tokio::{sync::oneshot, time::Instant};

use crate::ingest::{expired::Expired, limits::body_budget::BodyShare};

/// A request that has waited longer than this is refused instead of stored: its sender has probably given up.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How events were accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// They are committed, some of them before this request.
    Committed(Repeated),
    /// The database is unavailable. They are on this machine's disk and will be committed once it is back.
    Spooled,
}

/// The events of a request that were stored before it, so that it stored them not again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Repeated {
    pub(crate) clicks: u64,
    pub(crate) impressions: u64,
    /// Where the request's source stands, if it stands behind the request's end.
    pub(crate) stands_at: Option<u64>,
}

impl Repeated {
    fn add<'a>(&mut self, events: impl IntoIterator<Item = &'a SiteEvent>) {
        for of_site in events {
            match of_site.event.kind {
                EventKind::Click => self.clicks += 1,
                EventKind::Impression => self.impressions += 1,
            }
        }
    }
}

/// Why events were not acknowledged. They are not stored, except for [`IngestError::Unknown`], [`IngestError::Incomplete`],
/// [`IngestError::PartUnavailable`] and [`IngestError::RefusedInPart`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum IngestError {
    /// Too many requests wait already, or this one waited too long.
    #[error("too many requests are waiting")]
    TooBusy,
    /// Their hour was settled and is being rebuilt for them, which takes longer than a request may wait.
    #[error("the hour is being rebuilt")]
    Rebuilding,
    /// The database is unavailable. The cause is logged.
    #[error("the database does not answer")]
    Unavailable,
    /// The same of this shard of several.
    #[error("the database of shard {0} does not answer")]
    ShardUnavailable(usize),
    /// The same of one of the shards that a batch has events of. Others may have stored their part of it when it came before.
    #[error("the database of shard {0} does not answer")]
    PartUnavailable(usize),
    /// The database refused them. The cause is logged.
    #[error("the database refused")]
    Refused,
    /// The raw events of an hour are gone, so they cannot be counted exactly.
    #[error("the raw events of that hour are no longer kept")]
    Expired(Expired),
    /// A site of theirs was deleted a moment ago.
    #[error("the site is deleted")]
    SiteDeleted,
    /// Another request was stored under this idempotency key of theirs.
    #[error("the idempotency key belongs to another request")]
    Conflict(SiteHour, IdempotencyKey),
    /// Their source stands here, and not where the request begins; or the request does not end where a part of it does that some shards have.
    #[error("the source stands elsewhere")]
    SourceElsewhere(SourceStanding),
    /// The same of what some shards lack, of a batch that others have stored before.
    #[error("{0}, and some shards have stored their part before")]
    RefusedInPart(Box<Self>),
    /// Some shards have stored theirs of them, and others have not. Given again under the same key or source, they complete what is missing.
    #[error("not every shard has stored its part")]
    Incomplete,
    /// They may be stored or not: the connection died during the commit and the database did not come back in time.
    #[error("it is not known whether the events are stored")]
    Unknown,
}

impl IngestError {
    /// Why what some shards lack of a batch was refused, or the error itself.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "only a topic leaves out what is refused"))]
    pub(crate) fn cause(self) -> Self {
        match self {
            Self::RefusedInPart(cause) => *cause,
            other => other,
        }
    }

    /// Whether the same events would be refused again.
    pub(crate) fn is_for_good(&self) -> bool {
        matches!(
            self,
            Self::Expired(_)
                | Self::SiteDeleted
                | Self::Conflict(..)
                | Self::SourceElsewhere(_)
                | Self::RefusedInPart(_)
        )
    }
}

/// The events of one request, and the channel for its answer.
pub(crate) struct Job {
    pub(crate) submission: Submission,
    pub(crate) claims: Vec<Claim>,
    /// How many failed commits it was part of.
    pub(crate) tries: u8,
    /// Where its source was found to stand, before the request's beginning. It waits for what comes between.
    pub(crate) waits_from: Option<SourcePosition>,
    repeated: Repeated,
    /// Repetitions of the same request. They get the same answer.
    followers: Vec<Job>,
    arrived: Instant,
    _share: Option<Arc<BodyShare>>,
    answer: oneshot::Sender<Result<Accepted, IngestError>>,
}

impl Job {
    pub(crate) fn new(
        submission: Submission,
        share: Option<Arc<BodyShare>>,
    ) -> (Self, oneshot::Receiver<Result<Accepted, IngestError>>) {
        let (answer, answered) = oneshot::channel();
        let claims = Claim::all_of(&submission);
        let job = Self {
            submission,
            claims,
            tries: 0,
            waits_from: None,
            repeated: Repeated::default(),
            followers: Vec::new(),
            arrived: Instant::now(),
            _share: share,
            answer,
        };
        (job, answered)
    }

    /// The answer goes nowhere if the client has hung up.
    pub(crate) fn answer(self, answer: Result<Accepted, IngestError>) {
        answer_all(self.followers, &answer);
        let _ = self.answer.send(answer);
    }

    /// Answers that its events are committed.
    pub(crate) fn committed(mut self) {
        for follower in std::mem::take(&mut self.followers) {
            follower.repeated(None);
        }
        let accepted = Accepted::Committed(self.repeated);
        self.answer(Ok(accepted));
    }

    /// Answers that all its events were committed before. `stands_at` is where its source stands, if that is behind its end.
    pub(crate) fn repeated(mut self, stands_at: Option<u64>) {
        self.repeated.add(&self.submission.events);
        self.repeated.stands_at = stands_at;
        self.committed();
    }

    /// Answers that it waited too long, and where its source stands if it waited for that.
    pub(crate) fn not_reached(self) {
        let error = self
            .waits_from
            .clone()
            .map_or(IngestError::TooBusy, |at| IngestError::SourceElsewhere(SourceStanding::at(at)));
        self.answer(Err(error));
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.arrived + LONGEST_WAIT
    }

    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.arrived) >= LONGEST_WAIT
    }

    /// Its first event that lies in one of these hours.
    pub(crate) fn first_in(&self, hours: &HashSet<SiteHour>) -> Option<&SiteEvent> {
        self.submission.events.iter().find(|event| hours.contains(&event.site_hour()))
    }

    pub(crate) fn touches(&self, hours: &HashSet<SiteHour>) -> bool {
        !hours.is_empty() && self.first_in(hours).is_some()
    }

    /// Whether one of its events is of such an hour of a site.
    pub(crate) fn has(&self, is_such: impl Fn(SiteHour) -> bool) -> bool {
        self.submission.events.iter().any(|event| is_such(event.site_hour()))
    }

    /// Whether the other is the same request under the same keys, so that one answer is right for both.
    pub(crate) fn is_repeated_by(&self, other: &Self) -> bool {
        !self.claims.is_empty()
            && self.claims == other.claims
            && self.submission.is_all_keyed()
            && other.submission.is_all_keyed()
    }

    /// Gives the other the answer of this one.
    pub(crate) fn lead(&mut self, other: Self) {
        self.followers.push(other);
    }

    /// Removes the events of keys that are stored already. `left_out` are indices into [`Submission::keyed`].
    pub(crate) fn leave_out(&mut self, left_out: &HashSet<usize>) {
        for &place in left_out {
            self.repeated.add(&self.submission.events[self.submission.keyed[place].events.clone()]);
        }
        self.submission = std::mem::take(&mut self.submission).without(left_out);
        self.claims = Claim::all_of(&self.submission);
    }
}

pub(crate) fn answer_all(jobs: impl IntoIterator<Item = Job>, answer: &Result<Accepted, IngestError>) {
    for job in jobs {
        job.answer(answer.clone());
    }
}

/// Collects what fits into one commit.
pub(crate) struct Room {
    max_events: usize,
    events: usize,
    hours: HashSet<Hour>,
    submissions: usize,
    /// The index of the submission that holds each key.
    keys: HashMap<(SiteHour, IdempotencyKey), usize>,
    /// Where each source stands behind this commit.
    sources: HashMap<(SiteId, SourceName), SourcePosition>,
}

/// Whether a submission fits into a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It fits, and is counted.
    Fits,
    /// The commit is full.
    Full,
    /// The submission at this index has one of its keys already, so its answer depends on that commit.
    SameKey(usize),
    /// The commit has a part of its source already, and not the one before it.
    OutOfStep,
}

impl Room {
    pub(crate) fn new(max_events: usize) -> Self {
        Self {
            max_events,
            events: 0,
            hours: HashSet::new(),
            submissions: 0,
            keys: HashMap::new(),
            sources: HashMap::new(),
        }
    }

    /// The first always fits, whatever its size.
    pub(crate) fn take(&mut self, submission: &Submission, claims: &[Claim]) -> Fit {
        let keys = || claims.iter().map(|claim| (claim.site_hour, claim.key.clone()));
        if let Some(&holder) = keys().find_map(|key| self.keys.get(&key)) {
            return Fit::SameKey(holder);
        }
        let of = |step: &SourceStep| (step.site, step.source.clone());
        if let Some(step) = &submission.step
            && self.sources.get(&of(step)).is_some_and(|stands_at| *stands_at != step.from)
        {
            return Fit::OutOfStep;
        }
        let events = self.events + submission.events.len();
        let more =
            submission.events.iter().map(|of_site| of_site.event.hour()).filter(|hour| !self.hours.contains(hour));
        let more: HashSet<Hour> = more.collect();
        if self.events > 0 && (events > self.max_events || self.hours.len() + more.len() > MAX_BATCH_HOURS) {
            return Fit::Full;
        }
        self.events = events;
        self.hours.extend(more);
        self.keys.extend(keys().map(|key| (key, self.submissions)));
        self.sources.extend(submission.step.as_ref().map(|step| (of(step), step.to.clone())));
        self.submissions += 1;
        Fit::Fits
    }
}
