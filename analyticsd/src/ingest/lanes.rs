//! Lanes of events: the present apart from the past, so that what happens to an old hour never delays the current one.

use std::sync::Arc;

use db::Store;
use model::{Event, Hour, IdempotencyKey, Submission, Timestamp, wire::MAX_BATCH_EVENTS};
use tokio::sync::Semaphore;

use crate::{
    ingest::{
        batcher::{Batcher, Shared},
        job::{Accepted, IngestError},
        limits::body_budget::BodyShare,
        losses::Losses,
        pending::BatcherLimits,
        spool::SpoolLane,
        storing::Storing,
    },
    process::tasks::Tasks,
    telemetry::metrics::{LaneName, Metrics, Queued},
};

/// The most events that wait for one lane's next commit. Beyond it the answer is 503. A waiting event takes about 450 bytes at most, so a full queue takes about 7 MiB, and as much again may wait for
/// hours that are being rebuilt.
const QUEUE_LENGTH: usize = 16_384;
/// Single events; a commit of so many takes some tens of milliseconds.
const SINGLE: BatcherLimits = BatcherLimits { queue_length: QUEUE_LENGTH, commit_events: 4_096 };
/// Batches are up to 10,000 events each, so few may wait. What waits goes together: of a user who is in all of four batches only one pair
/// is written. A commit of so many takes two tenths of a second, for which others may wait who bring the same new user.
const BULK: BatcherLimits = BatcherLimits { queue_length: 16, commit_events: 4 * MAX_BATCH_EVENTS };

/// The most hours that are opened again at a time.
const MAX_REOPENING: usize = 3;

/// The lanes of one daemon's events. Events under keys have lanes of their own, so that only those who use keys wait for keys to be looked up. Each has a
/// task of its own and has at most one commit under way. Batches have two lanes: what it takes to put a commit of 40,000 events together is
/// then done while the database stores the other lane's.
pub(crate) struct EventLanes {
    present_events: Batcher,
    past_events: Batcher,
    bulk_events: [Batcher; 2],
    keyed_events: Batcher,
    keyed_bulk_events: Batcher,
    storing: Arc<Storing>,
}

impl EventLanes {
    /// Starts the lanes' tasks in `tasks`. They end, with all that they accepted answered, once the [`EventLanes`] are dropped.
    /// With a spool, events are kept there while the database is away.
    pub(crate) fn start(
        store: &Store,
        spool: Option<&SpoolLane>,
        metrics: &Arc<Metrics>,
        losses: Losses,
        tasks: &Tasks,
    ) -> Self {
        let storing = Arc::<Storing>::default();
        let reopening_places = Arc::new(Semaphore::new(MAX_REOPENING));
        let shared = Shared { store, spool, metrics, storing: &storing, losses, reopening_places };
        let events = |name, limits, tasks| Batcher::start(name, limits, &shared, tasks);
        Self {
            present_events: events(LaneName::Present, SINGLE, tasks),
            past_events: events(LaneName::Past, SINGLE, tasks),
            bulk_events: [events(LaneName::Bulk, BULK, tasks), events(LaneName::Bulk, BULK, tasks)],
            keyed_events: events(LaneName::Keyed, SINGLE, tasks),
            keyed_bulk_events: events(LaneName::KeyedBulk, BULK, tasks),
            storing,
        }
    }

    /// What they know of whether events can be stored.
    pub(crate) fn storing(&self) -> Arc<Storing> {
        Arc::clone(&self.storing)
    }

    /// Lets the lengths of all queues be read among the numbers of the daemon, for as long as the lanes are there.
    pub(crate) fn watch(self: &Arc<Self>, metrics: &Metrics) {
        type Queues = fn(&EventLanes) -> Queued;
        let queues: [(&str, Queues); 5] = [
            ("present", |lanes| lanes.present_events.queued()),
            ("past", |lanes| lanes.past_events.queued()),
            ("bulk", |lanes| lanes.bulk_events.iter().map(Batcher::queued).sum()),
            ("keyed", |lanes| lanes.keyed_events.queued()),
            ("keyed_bulk", |lanes| lanes.keyed_bulk_events.queued()),
        ];
        for (queue, queued) in queues {
            let lanes = Arc::downgrade(self);
            metrics.watch_queue(queue, move || lanes.upgrade().map(|lanes| queued(&lanes)));
        }
    }

    /// Stores one event, under a key if one is given; when this returns [`Accepted::Committed`] it is committed.
    pub(crate) async fn store_one(&self, event: Event, key: Option<IdempotencyKey>) -> Result<Accepted, IngestError> {
        let lane = match key {
            Some(_) => &self.keyed_events,
            None if is_present(event.hour()) => &self.present_events,
            None => &self.past_events,
        };
        lane.store(Submission::new(vec![event], key), None).await
    }

    /// Stores a batch, all or nothing; when this returns [`Accepted::Committed`] it is committed.
    pub(crate) async fn store_batch(&self, batch: Submission, share: BodyShare) -> Result<Accepted, IngestError> {
        let lane = if batch.keyed.is_empty() {
            let [one, other] = &self.bulk_events;
            if one.room() >= other.room() { one } else { other }
        } else {
            &self.keyed_bulk_events
        };
        lane.store(batch, Some(share)).await
    }
}

/// The current hour, the one before it (which is not settled yet), and the one after it, which clocks ahead of ours call current.
/// What lies further ahead needs room of its own to be made, for which the present must not wait either.
pub(crate) fn is_present(hour: Hour) -> bool {
    let current = Hour::containing(Timestamp::now());
    hour == current || Some(hour) == current.previous() || Some(hour) == current.next()
}
