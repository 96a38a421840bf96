use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Counter, Gauge, Sink};

/// The messages of the topic that this daemon reads, and its partitions; all zero without one.
#[derive(Default)]
pub(crate) struct Kafka {
    /// Messages whose events this daemon stored.
    pub(crate) stored: Counter,
    /// Messages whose events were stored before.
    pub(crate) repeated: Counter,
    /// Messages that can never be stored.
    pub(crate) rejected: Counter,
    /// Messages without content.
    pub(crate) empty: Counter,
    /// Messages that the topic deleted before they were stored, at most.
    pub(crate) lost: Counter,
    stalled: Gauge,
    beginning: Gauge,
    partitions: Mutex<BTreeMap<i32, Partition>>,
}

struct Partition {
    /// Lives as long as the process, since a partition comes back.
    label: &'static str,
    /// Whether it is this daemon's.
    is_read: bool,
    lag: Option<u64>,
}

impl Kafka {
    /// Notes the partitions of this daemon, each with its lag if that is known, and how many of them stall, or have yet to begin.
    #[cfg(feature = "kafka")]
    pub(crate) fn shows(&self, stalled: usize, beginning: usize, lags: impl IntoIterator<Item = (i32, Option<u64>)>) {
        let gauge = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.stalled.set(gauge(stalled));
        self.beginning.set(gauge(beginning));
        let mut partitions = self.partitions();
        for partition in partitions.values_mut() {
            partition.is_read = false;
        }
        for (number, lag) in lags {
            let new = || Partition { label: Box::leak(number.to_string().into_boxed_str()), is_read: true, lag };
            let partition = partitions.entry(number).or_insert_with(new);
            (partition.is_read, partition.lag) = (true, lag);
        }
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<i32, Partition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        let outcomes = [
            ("stored", &self.stored),
            ("repeated", &self.repeated),
            ("rejected", &self.rejected),
            ("empty", &self.empty),
        ];
        sink.counter(
            "analyticsd_kafka_messages",
            "Messages of the topic that this daemon is done with, by outcome: stored, repeated if their events were stored \
             before, rejected if they can never be, empty if they had no content",
            outcomes.map(|(outcome, count)| (vec![("outcome", outcome)], count.get())),
        )?;
        sink.counter(
            "analyticsd_kafka_lost_messages",
            "Messages that the topic deleted before they were stored, at most",
            [(vec![], self.lost.get())],
        )?;
        let partitions = self.partitions();
        let read = || partitions.values().filter(|partition| partition.is_read);
        sink.gauge(
            "analyticsd_kafka_partitions",
            "Partitions of the topic that this daemon reads",
            [(vec![], read().count() as f64)],
        )?;
        sink.gauge(
            "analyticsd_kafka_stalled_partitions",
            "Partitions of this daemon that are not read until somebody does something; the log says what",
            [(vec![], self.stalled.get())],
        )?;
        sink.gauge(
            "analyticsd_kafka_beginning_partitions",
            "Partitions of this daemon of which it does not know yet where they stand",
            [(vec![], self.beginning.get())],
        )?;
        let lags =
            read().filter_map(|Partition { label, lag, .. }| Some((vec![("partition", *label)], (*lag)? as f64)));
        sink.gauge(
            "analyticsd_kafka_lag_messages",
            "Messages of a partition that are not stored yet; shown by the daemon that reads it",
            lags,
        )
    }
}
