//! Keeps the present apart from the past, so that what happens to an old hour never delays the current one.

use std::sync::Arc;

use db::Store;
use model::{Event, Hour, HourCounts, IdempotencyKey, Submission, Timestamp, wire::MAX_BATCH_EVENTS};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    ingest::{
        batcher::{EventLane, LaneLimits, Shared},
        job::{Accepted, NotAccepted},
        limits::body_budget::BodyShare,
        losses::Losses,
        spool::SpoolLane,
        storing::Storing,
    },
    query::counts::{CountLane, Unanswered},
    telemetry::metrics::{LaneName, Metrics, Queued, ReadLaneName},
};

/// The most events that wait for one lane's next commit, and the most questions that wait for one lane's next read. Beyond it
/// the answer is 503. A waiting event takes about 450 bytes at most, so a full queue takes about 7 MiB, and as much again may wait for
/// hours that are being rebuilt.
const QUEUE_LENGTH: usize = 16_384;
/// Single events; a commit of so many takes some tens of milliseconds.
const SINGLE: LaneLimits = LaneLimits { queue_length: QUEUE_LENGTH, commit_events: 4_096 };
/// Batches are up to 10,000 events each, so few may wait. What waits goes together: of a user who is in all of four batches only one pair
/// is written. A commit of so many takes two tenths of a second, for which others may wait who bring the same new user.
const BULK: LaneLimits = LaneLimits { queue_length: 16, commit_events: 4 * MAX_BATCH_EVENTS };

/// The most hours that are opened again at a time.
const MAX_REOPENING: usize = 3;

/// The lanes of one daemon. Events under keys have lanes of their own, so that only those who use keys wait for keys to be looked up. Each has a
/// task of its own and has at most one commit or read under way. Batches have two lanes: what it takes to put a commit of 40,000 events together is
/// then done while the database stores the other lane's.
pub(crate) struct Lanes {
    present_events: EventLane,
    past_events: EventLane,
    bulk_events: [EventLane; 2],
    keyed_events: EventLane,
    keyed_bulk_events: EventLane,
    present_counts: CountLane,
    past_counts: CountLane,
    storing: Arc<Storing>,
}

impl Lanes {
    /// Starts the lanes' tasks in `tasks`. They end, with all that they accepted answered, once the [`Lanes`] are dropped.
    /// With a spool, events are kept there while the database is away.
    pub(crate) fn start(
        store: &Store,
        spool: Option<&SpoolLane>,
        metrics: &Arc<Metrics>,
        losses: Losses,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let storing = Arc::<Storing>::default();
        let reopening_places = Arc::new(Semaphore::new(MAX_REOPENING));
        let shared = Shared { store, spool, metrics, storing: &storing, losses, reopening_places };
        let counts = |name, tasks: &mut _| CountLane::start(store.clone(), QUEUE_LENGTH, name, metrics, tasks);
        let events = |name, limits, tasks: &mut _| EventLane::start(name, limits, &shared, tasks);
        Self {
            present_events: events(LaneName::Present, SINGLE, tasks),
            past_events: events(LaneName::Past, SINGLE, tasks),
            bulk_events: [events(LaneName::Bulk, BULK, tasks), events(LaneName::Bulk, BULK, tasks)],
            keyed_events: events(LaneName::Keyed, SINGLE, tasks),
            keyed_bulk_events: events(LaneName::KeyedBulk, BULK, tasks),
            present_counts: counts(ReadLaneName::Present, tasks),
            past_counts: counts(ReadLaneName::Past, tasks),
            storing,
        }
    }

    /// What they know of whether events can be stored.
    pub(crate) fn storing(&self) -> Arc<Storing> {
        Arc::clone(&self.storing)
    }

    /// Lets the lengths of all queues be read among the numbers of the daemon, for as long as the lanes are there.
    pub(crate) fn watch(self: &Arc<Self>, metrics: &Metrics) {
        type Queues = fn(&Lanes) -> Queued;
        let queues: [(&str, Queues); 7] = [
            ("present", |lanes| lanes.present_events.queued()),
            ("past", |lanes| lanes.past_events.queued()),
            ("bulk", |lanes| lanes.bulk_events.iter().map(EventLane::queued).sum()),
            ("keyed", |lanes| lanes.keyed_events.queued()),
            ("keyed_bulk", |lanes| lanes.keyed_bulk_events.queued()),
            ("reads_present", |lanes| lanes.present_counts.queued()),
            ("reads_past", |lanes| lanes.past_counts.queued()),
        ];
        for (queue, queued) in queues {
            let lanes = Arc::downgrade(self);
            metrics.watch_queue(queue, move || lanes.upgrade().map(|lanes| queued(&lanes)));
        }
    }

    /// Stores one event, under a key if one is given; when this returns [`Accepted::Committed`] it is committed.
    pub(crate) async fn store_one(&self, event: Event, key: Option<IdempotencyKey>) -> Result<Accepted, NotAccepted> {
        let lane = match key {
            Some(_) => &self.keyed_events,
            None if is_present(event.hour()) => &self.present_events,
            None => &self.past_events,
        };
        lane.store(Submission::new(vec![event], key), None).await
    }

    /// Stores a batch, all or nothing; when this returns [`Accepted::Committed`] it is committed.
    pub(crate) async fn store_batch(&self, batch: Submission, share: BodyShare) -> Result<Accepted, NotAccepted> {
        let lane = if batch.keyed.is_empty() {
            let [one, other] = &self.bulk_events;
            if one.room() >= other.room() { one } else { other }
        } else {
            &self.keyed_bulk_events
        };
        lane.store(batch, Some(share)).await
    }

    /// The exact counts of an hour, including every event that was acknowledged before the call.
    pub(crate) async fn counts(&self, hour: Hour) -> Result<HourCounts, Unanswered> {
        let lane = if is_present(hour) { &self.present_counts } else { &self.past_counts };
        lane.counts(hour).await
    }
}

/// The current hour, the one before it (which is not settled yet), and the one after it, which clocks ahead of ours call current.
/// What lies further ahead needs room of its own to be made, for which the present must not wait either.
fn is_present(hour: Hour) -> bool {
    let current = Hour::containing(Timestamp::now());
    hour == current || Some(hour) == current.previous() || Some(hour) == current.next()
}
