use std::{
    fmt,
    iter::Sum,
    sync::{Mutex, PoisonError},
};

use tokio::sync::mpsc;

use super::{Labels, Sink};

/// Reads a value when metrics are collected; `None` once its owner is gone.
type Read = Box<dyn Fn() -> Option<f64> + Send + Sync>;

struct Gauge {
    name: &'static str,
    help: &'static str,
    series: Vec<(Labels, Read)>,
}

/// The length of a queue and its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) waiting: usize,
    pub(crate) limit: usize,
}

impl Queued {
    /// The length of a channel.
    pub(crate) fn of<T>(queue: &mpsc::Sender<T>) -> Self {
        let limit = queue.max_capacity();
        Self { waiting: limit - queue.capacity().min(limit), limit }
    }
}

impl Sum for Queued {
    fn sum<I: Iterator<Item = Self>>(queues: I) -> Self {
        queues
            .fold(Self::default(), |all, one| Self { waiting: all.waiting + one.waiting, limit: all.limit + one.limit })
    }
}

/// Values that exist anyway, such as the length of a queue. Their owners register how to read them, and they cost
/// nothing between two collections.
#[derive(Default)]
pub(crate) struct Watched(Mutex<Vec<Gauge>>);

impl Watched {
    /// Registers a value. Values of one name share its help and differ in their labels.
    ///
    /// `read` must be quick, and must not keep its owner alive.
    pub(crate) fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let series = (labels, Box::new(read) as Read);
        match gauges.iter_mut().find(|gauge| gauge.name == name) {
            Some(gauge) => gauge.series.push(series),
            None => gauges.push(Gauge { name, help, series: vec![series] }),
        }
    }

    /// Registers the length of a queue and its limit.
    pub(crate) fn queue(&self, labels: Labels, read: impl Fn() -> Option<Queued> + Clone + Send + Sync + 'static) {
        self.used(
            ("analyticsd_queue_requests", "Requests in a queue that wait for the next commit, read or write"),
            (
                "analyticsd_queue_limit_requests",
                "The most requests that a queue holds; beyond it the daemon returns 503",
            ),
            labels,
            move || read().map(|queued| (queued.waiting, queued.limit)),
        );
    }

    /// Registers the use of a limited resource. The pairs are name and help of the two metrics.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn used(
        &self,
        used: (&'static str, &'static str),
        limit: (&'static str, &'static str),
        labels: Labels,
        read: impl Fn() -> Option<(usize, usize)> + Clone + Send + Sync + 'static,
    ) {
        let read_limit = read.clone();
        self.gauge(used.0, used.1, labels.clone(), move || read().map(|(used, _)| used as f64));
        self.gauge(limit.0, limit.1, labels, move || read_limit().map(|(_, limit)| limit as f64));
    }

    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        for gauge in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let read = gauge.series.iter().filter_map(|(labels, read)| Some((labels.clone(), read()?)));
            sink.gauge(gauge.name, gauge.help, read)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    };

    use crate::telemetry::metrics::Metrics;

    #[test]
    fn a_value_is_read_each_time_and_left_out_when_it_is_gone() {
        let metrics = Arc::new(Metrics::new([], Arc::default(), [], 1));
        let value = Arc::new(AtomicU8::new(1));
        let weak = Arc::downgrade(&value);
        for label in ["a", "b"] {
            let weak = weak.clone();
            let read = move || Some(f64::from(weak.upgrade()?.load(Ordering::Relaxed)));
            metrics.watched.gauge("some_depth", "A depth", vec![("queue", label)], read);
        }
        assert!(metrics.render().contains("some_depth{queue=\"a\"} 1.0\nsome_depth{queue=\"b\"} 1.0\n"));
        value.store(7, Ordering::Relaxed);
        let shown = metrics.render();
        assert_eq!(
            (shown.matches("{queue=\"a\"} 7.0\n").count(), shown.matches("TYPE some_depth gauge").count()),
            (1, 1)
        );
        drop(value);
        assert!(!metrics.render().contains("some_depth{"));
    }
}
