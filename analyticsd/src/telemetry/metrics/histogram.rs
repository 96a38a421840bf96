use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// In nanoseconds: from a quarter of a millisecond, which an idle daemon takes, to ten seconds, after which every
/// request is refused.
const SECONDS: &[u64] = &[
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// From one event to the most of one commit.
const EVENTS: &[u64] = &[1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000];
/// Hours. Most reads are for the current one alone.
const HOURS: &[u64] = &[1, 2, 5, 10, 25, 50, 100, 250, 1_000];

/// The unit of observed values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Observed in nanoseconds, exported in seconds.
    Nanoseconds,
    /// A number of things.
    Things,
}

/// A histogram of atomics. The crate's own histograms take a lock for each value, and requests on all threads would
/// wait for it.
pub(crate) struct Histogram {
    unit: Unit,
    bounds: &'static [u64],
    /// The number of values within each bound and above the one before; the last bucket is for values beyond all
    /// bounds.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Of times, see [`Histogram::observe_since`].
    pub(crate) fn of_seconds() -> Self {
        Self::new(Unit::Nanoseconds, SECONDS)
    }

    /// Of numbers of events.
    pub(crate) fn of_events() -> Self {
        Self::new(Unit::Things, EVENTS)
    }

    /// Of numbers of hours.
    pub(crate) fn of_hours() -> Self {
        Self::new(Unit::Things, HOURS)
    }

    fn new(unit: Unit, bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { unit, bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Observes a value; a time is in nanoseconds.
    pub(crate) fn observe(&self, value: u64) {
        let place = self.bounds.partition_point(|&bound| bound < value);
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Observes the time since an instant.
    pub(crate) fn observe_since(&self, began: Instant) {
        self.observe_time(began.elapsed());
    }

    pub(crate) fn observe_time(&self, took: Duration) {
        self.observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Each bound with the number of values in its bucket, the number of all values, and their sum.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let scale = match self.unit {
            Unit::Nanoseconds => 1e9,
            Unit::Things => 1.0,
        };
        let bounds = self.bounds.iter().map(|&bound| bound as f64 / scale).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> =
            bounds.zip(&self.buckets).map(|(bound, values)| (bound, values.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, values)| values).sum();
        (buckets, count, self.sum.load(Ordering::Relaxed) as f64 / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn a_value_lies_within_the_first_bound_that_it_does_not_exceed() {
        let events = Histogram::of_events();
        for value in [0, 1, 2, 3, 40_000, 40_001] {
            events.observe(value);
        }
        let (buckets, count, sum) = events.read();
        let filled: Vec<_> = buckets.into_iter().filter(|(_, values)| *values > 0).collect();
        assert_eq!(filled, [(1.0, 2), (2.0, 1), (5.0, 1), (40_000.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((count, sum), (6, 80_007.0));
    }

    #[test]
    fn times_are_shown_in_seconds() {
        let seconds = Histogram::of_seconds();
        seconds.observe(2_000_000_000);
        let (buckets, _, sum) = seconds.read();
        assert_eq!(buckets.iter().find(|(_, values)| *values > 0), Some(&(2.5, 1)));
        assert_eq!((buckets[0].0, sum), (0.000_25, 2.0));
    }
}
