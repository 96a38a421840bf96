//! The lanes of queries for the counts of an hour. The present has a lane of its own, as for events.

use std::sync::Arc;

use db::Shards;
use model::SiteHour;

use crate::{
    ingest::shard_lanes::is_present,
    process::tasks::Tasks,
    query::counts::{CountBatcher, ReadError, SharedCounts},
    telemetry::metrics::{Metrics, Queued, ReadLaneName},
};

/// The most queries that wait for one lane's next read. Beyond it the daemon returns 503.
const QUEUE_LENGTH: usize = 16_384;

/// The lanes of one daemon's queries. Each has at most one read under way.
pub(crate) struct CountLanes {
    present: CountBatcher,
    past: CountBatcher,
}

impl CountLanes {
    /// Starts the lanes' tasks in `tasks`. Once the [`CountLanes`] are dropped, they answer all queries and end.
    pub(crate) fn start(shards: &Shards, metrics: &Arc<Metrics>, tasks: &Tasks) -> Self {
        let start = |name| CountBatcher::start(shards.clone(), QUEUE_LENGTH, name, metrics, tasks);
        Self { present: start(ReadLaneName::Present), past: start(ReadLaneName::Past) }
    }

    /// Adds the lengths of both queues to the metrics, as long as the lanes exist.
    pub(crate) fn watch(self: &Arc<Self>, metrics: &Metrics) {
        type Queues = fn(&CountLanes) -> Queued;
        let queues: [(&str, Queues); 2] =
            [("reads_present", |lanes| lanes.present.queued()), ("reads_past", |lanes| lanes.past.queued())];
        for (queue, queued) in queues {
            let lanes = Arc::downgrade(self);
            metrics.watched.queue(vec![("queue", queue)], move || lanes.upgrade().map(|lanes| queued(&lanes)));
        }
    }

    /// The exact counts of an hour of a site, including every event that was acknowledged before the call.
    pub(crate) async fn counts(&self, hour: SiteHour) -> Result<SharedCounts, ReadError> {
        let lane = if is_present(hour.hour) { &self.present } else { &self.past };
        lane.counts(hour).await
    }
}
