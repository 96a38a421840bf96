//! Lanes of questions for the counts of an hour: the present apart from the past, as events have them.

use std::sync::Arc;

use db::Store;
use model::{Hour, HourCounts};

use crate::{
    ingest::lanes::is_present,
    process::tasks::Tasks,
    query::counts::{CountBatcher, ReadError},
    telemetry::metrics::{Metrics, Queued, ReadLaneName},
};

/// The most questions that wait for one lane's next read. Beyond it the answer is 503.
const QUEUE_LENGTH: usize = 16_384;

/// The lanes of one daemon's questions. Each has at most one read under way.
pub(crate) struct CountLanes {
    present: CountBatcher,
    past: CountBatcher,
}

impl CountLanes {
    /// Starts the lanes' tasks in `tasks`. They end, with all questions answered, once the [`CountLanes`] are dropped.
    pub(crate) fn start(store: &Store, metrics: &Arc<Metrics>, tasks: &Tasks) -> Self {
        let start = |name| CountBatcher::start(store.clone(), QUEUE_LENGTH, name, metrics, tasks);
        Self { present: start(ReadLaneName::Present), past: start(ReadLaneName::Past) }
    }

    /// Shows the lengths of both queues among the metrics, for as long as the lanes are there.
    pub(crate) fn watch(self: &Arc<Self>, metrics: &Metrics) {
        type Queues = fn(&CountLanes) -> Queued;
        let queues: [(&str, Queues); 2] =
            [("reads_present", |lanes| lanes.present.queued()), ("reads_past", |lanes| lanes.past.queued())];
        for (queue, queued) in queues {
            let lanes = Arc::downgrade(self);
            metrics.watch_queue(queue, move || lanes.upgrade().map(|lanes| queued(&lanes)));
        }
    }

    /// The exact counts of an hour, including every event that was acknowledged before the call.
    pub(crate) async fn counts(&self, hour: Hour) -> Result<HourCounts, ReadError> {
        let lane = if is_present(hour) { &self.present } else { &self.past };
        lane.counts(hour).await
    }
}
