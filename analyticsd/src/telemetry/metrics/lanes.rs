use std::{array, fmt, sync::Arc, time::Duration};

use db::{Ingested, StoreError, WriteError};
use model::{EventKind, SiteEvent};

use super::{Counter, Histogram, Sink, label::label, shard::OfShards, sites::SiteMetrics};

label! {
    /// The lane of events. The two lanes for batches count as one.
    pub(crate) enum LaneName {
        /// The current hour and its neighbours.
        Present = "present",
        /// All other hours.
        Past = "past",
        /// Batches.
        Bulk = "bulk",
        /// Single events with keys.
        Keyed = "keyed",
        /// Batches with keys.
        KeyedBulk = "keyed_bulk",
        /// Requests from the spool.
        Spool = "spool",
    }
}

label! {
    /// The outcome of a commit.
    pub(crate) enum CommitOutcome {
        /// Its events are stored.
        Stored = "stored",
        /// Nothing is stored: some of its hours are settled or no longer kept.
        Blocked = "blocked",
        /// Nothing is stored: some of its keys are stored already.
        Claimed = "claimed",
        /// Nothing is stored: some of its sources stand elsewhere.
        Moved = "moved",
        /// The database refused it.
        Refused = "refused",
        /// The database was unavailable.
        Away = "away",
        /// The connection died, so the daemon had to find out whether the commit went through.
        Undecided = "undecided",
        /// The database cancelled it because it took too long, mostly because it waited for a lock.
        TimedOut = "timed_out",
    }
}

impl CommitOutcome {
    pub(crate) fn of(outcome: &Result<Ingested, WriteError>) -> Self {
        match outcome {
            Ok(Ingested::Stored) => Self::Stored,
            Ok(Ingested::Blocked { .. }) => Self::Blocked,
            Ok(Ingested::Claimed { .. }) => Self::Claimed,
            Ok(Ingested::Moved(_)) => Self::Moved,
            Err(WriteError::NotStored(StoreError::Cancelled(_))) => Self::TimedOut,
            Err(WriteError::NotStored(error)) if error.is_outage() => Self::Away,
            Err(WriteError::NotStored(_)) => Self::Refused,
            Err(WriteError::Undecided(undecided)) if undecided.was_cancelled() => Self::TimedOut,
            Err(WriteError::Undecided(_)) => Self::Undecided,
        }
    }

    /// Whether the database answered.
    pub(crate) fn is_answer(self) -> bool {
        !matches!(self, Self::Away | Self::Undecided)
    }
}

/// The commits of one lane.
pub(crate) struct LaneCommits {
    events: Histogram,
    seconds: Histogram,
    outcomes: [Counter; CommitOutcome::ALL.len()],
    ahead: Counter,
    clicks: Counter,
    impressions: Counter,
    repeated: Counter,
    sites: Arc<SiteMetrics>,
}

impl LaneCommits {
    fn new(sites: Arc<SiteMetrics>) -> Self {
        Self {
            events: Histogram::of_events(),
            seconds: Histogram::of_seconds(),
            outcomes: array::from_fn(|_| Counter::default()),
            ahead: Counter::default(),
            clicks: Counter::default(),
            impressions: Counter::default(),
            repeated: Counter::default(),
            sites,
        }
    }

    /// Counts an attempt to commit.
    pub(crate) fn tried(&self, outcome: CommitOutcome, took: Duration) {
        self.outcomes[outcome as usize].add(1);
        self.seconds.observe_time(took);
    }

    /// Counts a commit that was sent while others were under way.
    pub(crate) fn sent_ahead(&self) {
        self.ahead.add(1);
    }

    /// Counts the events of one commit.
    pub(crate) fn stored<'a>(&self, events: impl IntoIterator<Item = &'a SiteEvent>) {
        let (mut clicks, mut impressions) = (0, 0);
        for of_site in events {
            self.sites.stored(of_site);
            match of_site.event.kind {
                EventKind::Click => clicks += 1,
                EventKind::Impression => impressions += 1,
            }
        }
        self.clicks.add(clicks);
        self.impressions.add(impressions);
        self.events.observe((clicks + impressions) as u64);
    }

    /// Counts events that were left out because they were stored under their keys already.
    pub(crate) fn repeated(&self, events: usize) {
        self.repeated.add(events);
    }
}

/// The commits of all lanes.
pub(crate) struct Commits([Arc<LaneCommits>; LaneName::ALL.len()]);

impl Commits {
    pub(super) fn new(sites: &Arc<SiteMetrics>) -> Self {
        Self(array::from_fn(|_| Arc::new(LaneCommits::new(Arc::clone(sites)))))
    }

    pub(crate) fn of(&self, lane: LaneName) -> Arc<LaneCommits> {
        Arc::clone(&self.0[lane as usize])
    }

    fn lanes(&self) -> impl Iterator<Item = (&'static str, &LaneCommits)> {
        LaneName::ALL.map(LaneName::name).into_iter().zip(self.0.iter().map(AsRef::as_ref))
    }

    pub(super) fn encode(shards: OfShards<'_>, sink: &mut Sink<'_>) -> fmt::Result {
        sink.histogram(
            "analyticsd_commit_events",
            "Events in each commit that stored any",
            shards.series(|it| it.commits.lanes().map(|(lane, commits)| (vec![("lane", lane)], &commits.events))),
        )?;
        sink.histogram(
            "analyticsd_commit_duration_seconds",
            "How long commits took, whatever their outcome",
            shards.series(|it| it.commits.lanes().map(|(lane, commits)| (vec![("lane", lane)], &commits.seconds))),
        )?;
        sink.counter(
            "analyticsd_commits",
            "Commits by outcome",
            shards.series(|it| {
                it.commits.lanes().flat_map(|(lane, commits)| {
                    let outcomes = CommitOutcome::ALL.map(CommitOutcome::name).into_iter().zip(&commits.outcomes);
                    outcomes.map(move |(outcome, count)| (vec![("lane", lane), ("outcome", outcome)], count.get()))
                })
            }),
        )?;
        sink.counter(
            "analyticsd_commits_sent_ahead",
            "Commits that were sent before the one before them was over",
            shards.series(|it| it.commits.lanes().map(|(lane, commits)| (vec![("lane", lane)], commits.ahead.get()))),
        )?;
        sink.counter(
            "analyticsd_events_stored",
            "Events that this daemon stored and knows to be committed",
            shards.series(|it| {
                it.commits.lanes().flat_map(|(lane, commits)| {
                    [("click", &commits.clicks), ("impression", &commits.impressions)]
                        .map(|(event, count)| (vec![("lane", lane), ("event", event)], count.get()))
                })
            }),
        )?;
        sink.counter(
            "analyticsd_events_repeated",
            "Events that were left out of a commit, because they were stored under their idempotency keys already",
            shards
                .series(|it| it.commits.lanes().map(|(lane, commits)| (vec![("lane", lane)], commits.repeated.get()))),
        )
    }
}

label! {
    /// The lane of queries for counts.
    pub(crate) enum ReadLaneName {
        /// The current hour and its neighbours.
        Present = "present",
        /// All other hours.
        Past = "past",
    }
}

/// The reads of one lane.
pub(crate) struct LaneReads {
    pub(crate) hours: Histogram,
    pub(crate) questions: Counter,
    pub(crate) seconds: Histogram,
}

impl Default for LaneReads {
    fn default() -> Self {
        Self { hours: Histogram::of_hours(), questions: Counter::default(), seconds: Histogram::of_seconds() }
    }
}

/// The reads of both lanes.
#[derive(Default)]
pub(crate) struct Reads([std::sync::Arc<LaneReads>; ReadLaneName::ALL.len()]);

impl Reads {
    pub(crate) fn of(&self, lane: ReadLaneName) -> std::sync::Arc<LaneReads> {
        std::sync::Arc::clone(&self.0[lane as usize])
    }

    fn lanes(&self) -> impl Iterator<Item = (&'static str, &LaneReads)> {
        ReadLaneName::ALL.map(ReadLaneName::name).into_iter().zip(self.0.iter().map(AsRef::as_ref))
    }

    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        sink.histogram(
            "analyticsd_read_hours",
            "Different hours in each read of counts",
            self.lanes().map(|(lane, reads)| (vec![("lane", lane)], &reads.hours)),
        )?;
        sink.histogram(
            "analyticsd_read_duration_seconds",
            "How long reads of counts took, failures included",
            self.lanes().map(|(lane, reads)| (vec![("lane", lane)], &reads.seconds)),
        )?;
        sink.counter(
            "analyticsd_read_questions",
            "Queries for counts that reads answered; many share one read",
            self.lanes().map(|(lane, reads)| (vec![("lane", lane)], reads.questions.get())),
        )
    }
}
