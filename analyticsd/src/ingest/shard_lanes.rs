//! The lanes of the events of one shard. The present has a lane of its own, so that work on an old hour never delays the current one.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use db::{Depth, Store};
use model::{Hour, IdempotencyKey, SiteEvent, Submission, Timestamp, wire::MAX_BATCH_EVENTS};
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
    telemetry::metrics::{LaneName, Queued, ShardMetrics},
};

/// The most events that wait for one lane's next commit. Beyond it the daemon returns 503. A waiting event takes at
/// most about 450 bytes, so a full queue takes about 7 MiB, and as much again may wait for hours that are being
/// rebuilt.
const QUEUE_LENGTH: usize = 16_384;
/// The shortest that such a queue is where there are many shards, which share the memory.
const SHORTEST_QUEUE: usize = 1_024;
/// The limits for single events. A full commit takes some tens of milliseconds.
const SINGLE: BatcherLimits = BatcherLimits { queue_length: QUEUE_LENGTH, commit_events: 4_096 };
/// The limits for batches of up to 10,000 events each, so few may wait. Waiting batches share a commit: a user in all
/// of four batches is written once. A full commit takes two tenths of a second; a commit with the same new user waits
/// for it.
const BULK: BatcherLimits = BatcherLimits { queue_length: 16, commit_events: 4 * MAX_BATCH_EVENTS };

/// The most hours that are reopened at a time.
const MAX_REOPENING: usize = 3;

/// The lanes of the events of one shard. Each has a task and a connection of its own. Events with keys have
/// lanes of their own, so that only their clients wait for the lookup of keys. Batches have two lanes: one prepares a
/// commit of 40,000 events while the database stores the other's.
pub(crate) struct ShardLanes {
    present_events: Batcher,
    past_events: Batcher,
    bulk_events: [Batcher; 2],
    keyed_events: Batcher,
    keyed_bulk_events: Batcher,
    storing: Arc<Storing>,
}

impl ShardLanes {
    /// Starts the lanes' tasks in `tasks`. Once the [`ShardLanes`] are dropped, they answer all accepted requests and
    /// end. With a spool, events are kept there while the database is unavailable.
    pub(crate) fn start(
        store: &Store,
        spool: Option<&SpoolLane>,
        metrics: &Arc<ShardMetrics>,
        losses: Losses,
        shards: usize,
        depth: Depth,
        tasks: &Tasks,
    ) -> Self {
        let storing = Arc::<Storing>::default();
        let reopening_places = Arc::new(Semaphore::new(MAX_REOPENING));
        let shared = Shared { store, spool, metrics, storing: &storing, losses, depth, reopening_places };
        let single = BatcherLimits { queue_length: (QUEUE_LENGTH / shards).max(SHORTEST_QUEUE), ..SINGLE };
        let events = |name, limits, tasks| Batcher::start(name, limits, &shared, tasks);
        Self {
            present_events: events(LaneName::Present, single, tasks),
            past_events: events(LaneName::Past, single, tasks),
            bulk_events: [events(LaneName::Bulk, BULK, tasks), events(LaneName::Bulk, BULK, tasks)],
            keyed_events: events(LaneName::Keyed, single, tasks),
            keyed_bulk_events: events(LaneName::KeyedBulk, BULK, tasks),
            storing,
        }
    }

    /// Whether events can be stored, as far as the lanes know.
    pub(crate) fn storing(&self) -> Arc<Storing> {
        Arc::clone(&self.storing)
    }

    /// Adds the lengths of all queues to the metrics, as long as the lanes exist.
    pub(crate) fn watch(self: &Arc<Self>, metrics: &ShardMetrics) {
        type Queues = fn(&ShardLanes) -> Queued;
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
    pub(crate) fn store_one(
        &self,
        event: SiteEvent,
        key: Option<IdempotencyKey>,
    ) -> impl Future<Output = Result<Accepted, IngestError>> + use<> {
        let lane = match key {
            Some(_) => &self.keyed_events,
            None if is_present(event.event.hour()) => &self.present_events,
            None => &self.past_events,
        };
        lane.store(Submission::new(vec![event], key), None)
    }

    /// Stores a batch, all or nothing; when this returns [`Accepted::Committed`] it is committed. `share` is the memory that it has of
    /// the budget for bodies, if it came as one.
    pub(crate) async fn store_batch(
        &self,
        batch: Submission,
        share: Option<Arc<BodyShare>>,
    ) -> Result<Accepted, IngestError> {
        let lane = if batch.keyed.is_empty() {
            let [one, other] = &self.bulk_events;
            let prefers_one = match &batch.step {
                // What one lane has of a source is in order.
                Some(step) => hash_of((step.site, &step.source)).is_multiple_of(2),
                None => one.room() >= other.room(),
            };
            if prefers_one { one } else { other }
        } else {
            &self.keyed_bulk_events
        };
        lane.store(batch, share).await
    }
}

fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The current hour, the one before it (not settled yet), and the one after it (current by clocks ahead of ours). An
/// hour further ahead may need a new partition, and the present must not wait for that either.
pub(crate) fn is_present(hour: Hour) -> bool {
    let current = Hour::containing(Timestamp::now());
    hour == current || Some(hour) == current.previous() || Some(hour) == current.next()
}
