use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latencies::{Latencies, Precision};

/// More requests than any run makes.
pub(crate) const MOST: u64 = 1 << 48;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    /// Answered with an error.
    Refused,
    Unanswered,
}

/// What became of some requests, and how long those took that were answered as they should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) latencies: Latencies,
    /// Of those that were answered, the ones whose answer came when requests were made no more.
    #[serde(default)]
    late: u64,
    pub(crate) refused: u64,
    pub(crate) unanswered: u64,
    /// From sending events to the answer of a GET that counts them. None if none was read back.
    #[serde(default)]
    pub(crate) seen: Option<Latencies>,
    /// Events that a GET was sent for, which did not show them or was not answered.
    #[serde(default)]
    pub(crate) unseen: u64,
}

/// A series in figures, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) requests: u64,
    /// Answered with an error.
    pub(crate) refused: u64,
    pub(crate) unanswered: u64,
    pub(crate) answered_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl Summary {
    pub(crate) fn answered(&self) -> u64 {
        self.requests - self.refused - self.unanswered
    }
}

impl Series {
    pub(crate) fn new(precision: Precision) -> Self {
        Self { latencies: Latencies::new(precision), late: 0, refused: 0, unanswered: 0, seen: None, unseen: 0 }
    }

    pub(crate) fn record(&mut self, outcome: Outcome, latency: Duration) {
        match outcome {
            Outcome::Answered => self.latencies.record(latency),
            Outcome::Refused => self.refused += 1,
            Outcome::Unanswered => self.unanswered += 1,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies);
        self.late += other.late;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        if let Some(seen) = &other.seen {
            self.seen.get_or_insert_with(|| Latencies::new(Precision::Fine)).add(seen);
        }
        self.unseen += other.unseen;
    }

    /// What was added since this was like the earlier one.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            latencies: self.latencies.since(&earlier.latencies),
            late: self.late - earlier.late,
            refused: self.refused - earlier.refused,
            unanswered: self.unanswered - earlier.unanswered,
            seen: self
                .seen
                .as_ref()
                .map(|seen| earlier.seen.as_ref().map_or_else(|| seen.clone(), |earlier| seen.since(earlier))),
            unseen: self.unseen - earlier.unseen,
        }
    }

    /// None if it was not seen.
    pub(crate) fn record_seen(&mut self, after: Option<Duration>) {
        match after {
            Some(after) => self.seen.get_or_insert_with(|| Latencies::new(Precision::Fine)).record(after),
            None => self.unseen += 1,
        }
    }

    /// Events that were to be read back.
    pub(crate) fn pairs(&self) -> u64 {
        self.seen.as_ref().map_or(0, Latencies::len) + self.unseen
    }

    /// Whether a run could have measured it.
    pub(super) fn is_possible(&self) -> bool {
        let seen = self.seen.as_ref().map_or(0, Latencies::len);
        let counts = [self.latencies.len(), self.refused, self.unanswered, seen, self.unseen];
        counts.into_iter().all(|count| count <= MOST) && self.late <= self.latencies.len()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.latencies.len() + self.refused + self.unanswered
    }

    /// The share of requests that were refused or not answered; 0 if there were none.
    pub(crate) fn error_rate(&self) -> f64 {
        ratio(self.refused + self.unanswered, self.requests().max(1))
    }

    /// Tells that the request that was recorded last was answered late.
    pub(crate) fn record_late(&mut self) {
        self.late += 1;
    }

    /// `lasted` is how long the requests were made. What a server answers later it could not answer in that time.
    pub(crate) fn answered_per_second(&self, lasted: Duration) -> f64 {
        if lasted.is_zero() { 0.0 } else { ratio(self.latencies.len() - self.late, 1) / lasted.as_secs_f64() }
    }

    /// The milliseconds within which this share of the requests had their answer: those without one count as slower
    /// than all others, so there may be no such number. Those that were refused do not count, since a refusal may be
    /// fast.
    pub(crate) fn kept_ms(&self, quantile: f64) -> Option<f64> {
        kept_ms(&self.latencies, self.unanswered, quantile)
    }

    /// The same from sending events until they were seen; those that were not count as slower than all others.
    pub(crate) fn kept_until_seen_ms(&self, quantile: f64) -> Option<f64> {
        kept_ms(self.seen.as_ref()?, self.unseen, quantile)
    }

    pub(crate) fn summary(&self, lasted: Duration) -> Summary {
        let Self { latencies, refused, unanswered, .. } = self;
        Summary {
            requests: self.requests(),
            refused: *refused,
            unanswered: *unanswered,
            answered_per_second: self.answered_per_second(lasted),
            p50_ms: latencies.quantile_ms(0.5),
            p90_ms: latencies.quantile_ms(0.9),
            p95_ms: latencies.quantile_ms(0.95),
            p99_ms: latencies.quantile_ms(0.99),
            p999_ms: latencies.quantile_ms(0.999),
            max_ms: latencies.max_ms(),
        }
    }
}

fn kept_ms(latencies: &Latencies, without: u64, quantile: f64) -> Option<f64> {
    let answered = latencies.len();
    let place = quantile * ratio(answered + without, answered.max(1));
    // Of a hundred with one that was not answered, rounding must not lose the ninety-ninth.
    (answered > 0 && place <= 1.0 + f64::EPSILON).then(|| latencies.quantile_ms(place.min(1.0)))
}

#[expect(clippy::cast_precision_loss, reason = "a figure in a report has few digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Series};
    use crate::measured::latencies::Precision;

    fn series(outcomes: &[(Outcome, u32)]) -> Series {
        let mut series = Series::new(Precision::Fine);
        for &(outcome, times) in outcomes {
            (0..times).for_each(|_| series.record(outcome, Duration::from_millis(20)));
        }
        series
    }

    #[test]
    fn requests_without_an_answer_count_as_slower_than_all_others() {
        let keeps = |outcomes: &[(Outcome, u32)], quantile| series(outcomes).kept_ms(quantile).is_some();
        assert!(keeps(&[(Outcome::Answered, 99), (Outcome::Unanswered, 1)], 0.99));
        assert!(!keeps(&[(Outcome::Answered, 98), (Outcome::Unanswered, 2)], 0.99));
        assert!(!keeps(&[(Outcome::Answered, 99), (Outcome::Unanswered, 1)], 1.0));
        assert!(keeps(&[(Outcome::Answered, 1), (Outcome::Refused, 99)], 1.0));
        assert!(!keeps(&[(Outcome::Refused, 100)], 0.5));
        assert!(!keeps(&[(Outcome::Unanswered, 100)], 0.5));
    }

    #[test]
    fn a_series_without_a_request_has_figures_too() {
        let summary = series(&[]).summary(Duration::ZERO);
        assert_eq!((summary.requests, summary.answered()), (0, 0));
        assert!(summary.answered_per_second.abs() < f64::EPSILON && summary.max_ms.abs() < f64::EPSILON);
    }
}
