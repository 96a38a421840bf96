//! Measures latencies and outcomes of requests, by kind and over time.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::workload::kind::{Kind, Selection};

/// Latencies are kept from a microsecond to a minute and a half, the longest that a request may take, with three
/// digits.
const LONGEST_MICROS: u64 = 90_000_000;
const DIGITS: u8 = 3;
/// Over time two digits are enough, which take a tenth of the memory.
const DIGITS_OVER_TIME: u8 = 2;
/// A run has at most so many steps over time, of a second or more each, so that a long one takes no more memory than
/// a short one.
const MOST_STEPS: u64 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    /// Answered with an error.
    Refused,
    Unanswered,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    step: Duration,
    measured: Mutex<Measured>,
}

#[derive(Debug)]
struct Measured {
    kinds: Vec<Series>,
    steps: Vec<Series>,
    /// From sending a POST to the answer of a GET that counts it.
    freshness: Histogram<u64>,
    reads: u64,
    /// The first few.
    wrong_read_examples: Vec<String>,
    wrong_reads: u64,
    /// Unexpected answers: the first few that differ.
    complaints: Vec<String>,
}

/// The most complaints, and the most examples, that are kept.
const MOST_KEPT: usize = 10;

#[derive(Debug, Clone)]
struct Series {
    latency: Histogram<u64>,
    refused: u64,
    unanswered: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) requests: u64,
    /// Answered with an error.
    pub(crate) refused: u64,
    pub(crate) unanswered: u64,
    pub(crate) answered_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    /// Like `p99_ms`, but requests without an answer count as slower than all others; none if they are more than 1 %.
    /// Refused requests do not count, since a refusal may be fast.
    #[serde(skip)]
    pub(crate) p99_kept_ms: Option<f64>,
}

impl Summary {
    pub(crate) fn answered(&self) -> u64 {
        self.requests - self.refused - self.unanswered
    }

    /// The share of requests that were refused or not answered.
    pub(crate) fn error_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { ratio(self.refused + self.unanswered, self.requests) }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reads {
    pub(crate) checked: u64,
    /// Reads that missed an event acknowledged before, or counted one that was never sent.
    pub(crate) wrong: u64,
    /// The first wrong ones.
    pub(crate) examples: Vec<String>,
    /// POSTs followed by a GET.
    pub(crate) pairs: u64,
    /// Milliseconds from sending the POST to reading the counts with the event.
    pub(crate) seen_p50_ms: f64,
    pub(crate) seen_p99_ms: f64,
}

impl Recorder {
    pub(crate) fn new(run_time: Duration) -> Self {
        let step = Duration::from_secs(run_time.as_secs().div_ceil(MOST_STEPS).max(1));
        let measured = Measured {
            kinds: vec![Series::new(DIGITS); Kind::ALL.len()],
            steps: Vec::new(),
            freshness: histogram(DIGITS),
            reads: 0,
            wrong_read_examples: Vec::new(),
            wrong_reads: 0,
            complaints: Vec::new(),
        };
        Self { step, measured: Mutex::new(measured) }
    }

    pub(crate) fn step(&self) -> Duration {
        self.step
    }

    /// `since_start` is the time at which the request ended.
    pub(crate) fn add(&self, kind: Kind, outcome: Outcome, latency: Duration, since_start: Duration) {
        let place = usize::try_from(since_start.as_secs() / self.step.as_secs()).unwrap_or(usize::MAX);
        let mut measured = self.measured();
        measured.kinds[kind.index()].add(outcome, latency);
        // Requests that end after the run belong to no step.
        if place < usize::try_from(MOST_STEPS).unwrap_or(usize::MAX) + 1 {
            if measured.steps.len() <= place {
                measured.steps.resize(place + 1, Series::new(DIGITS_OVER_TIME));
            }
            measured.steps[place].add(outcome, latency);
        }
    }

    pub(crate) fn add_read(&self, fault: Option<String>) {
        let mut measured = self.measured();
        measured.reads += 1;
        if let Some(fault) = fault {
            measured.wrong_reads += 1;
            if measured.wrong_read_examples.len() < MOST_KEPT {
                measured.wrong_read_examples.push(fault);
            }
        }
    }

    pub(crate) fn add_freshness(&self, seen_after: Duration) {
        record(&mut self.measured().freshness, seen_after);
    }

    /// Records an unexpected answer.
    pub(crate) fn complain(&self, complaint: impl FnOnce() -> String) {
        let mut measured = self.measured();
        if measured.complaints.len() < MOST_KEPT {
            let complaint = complaint();
            // Many requests may fail for the same reason and hide the others.
            if !measured.complaints.contains(&complaint) {
                measured.complaints.push(complaint);
            }
        }
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.measured().complaints.clone()
    }

    /// The summary of some kinds of requests together, in a run of this length.
    pub(crate) fn of(&self, selection: Selection, lasted: Duration) -> Summary {
        let measured = self.measured();
        let mut all = Series::new(DIGITS);
        for kind in Kind::ALL.into_iter().filter(|&kind| selection.holds(kind)) {
            let series = &measured.kinds[kind.index()];
            all.latency.add(&series.latency).expect("all have the same bounds");
            all.refused += series.refused;
            all.unanswered += series.unanswered;
        }
        all.summary(lasted)
    }

    pub(crate) fn over_time(&self) -> Vec<Summary> {
        self.measured().steps.iter().map(|series| series.summary(self.step)).collect()
    }

    pub(crate) fn reads(&self) -> Reads {
        let measured = self.measured();
        Reads {
            checked: measured.reads,
            wrong: measured.wrong_reads,
            examples: measured.wrong_read_examples.clone(),
            pairs: measured.freshness.len(),
            seen_p50_ms: quantile(&measured.freshness, 0.5),
            seen_p99_ms: quantile(&measured.freshness, 0.99),
        }
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn new(digits: u8) -> Self {
        Self { latency: histogram(digits), refused: 0, unanswered: 0 }
    }

    fn add(&mut self, outcome: Outcome, latency: Duration) {
        match outcome {
            Outcome::Answered => record(&mut self.latency, latency),
            Outcome::Refused => self.refused += 1,
            Outcome::Unanswered => self.unanswered += 1,
        }
    }

    fn summary(&self, lasted: Duration) -> Summary {
        let Self { latency, refused, unanswered } = self;
        #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
        let answered_per_second = latency.len() as f64 / lasted.as_secs_f64().max(f64::MIN_POSITIVE);
        Summary {
            requests: latency.len() + refused + unanswered,
            refused: *refused,
            unanswered: *unanswered,
            answered_per_second,
            p50_ms: quantile(latency, 0.5),
            p90_ms: quantile(latency, 0.9),
            p99_ms: quantile(latency, 0.99),
            p999_ms: quantile(latency, 0.999),
            max_ms: millis(latency.max()),
            p99_kept_ms: self.p99_kept_ms(),
        }
    }

    fn p99_kept_ms(&self) -> Option<f64> {
        let answered = self.latency.len();
        let place = || 0.99 * ratio(answered + self.unanswered, answered);
        (answered > 0 && answered >= 99 * self.unanswered).then(|| quantile(&self.latency, place().min(1.0)))
    }
}

fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_MICROS, digits).expect("the bounds are constant and valid")
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_MICROS).max(1));
}

fn quantile(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    if histogram.is_empty() { 0.0 } else { millis(histogram.value_at_quantile(quantile)) }
}

fn millis(micros: u64) -> f64 {
    ratio(micros, 1_000)
}

#[expect(clippy::cast_precision_loss, reason = "a figure in a report has few digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Recorder};
    use crate::workload::kind::{Kind, Selection};

    #[test]
    fn a_summary_counts_every_request_and_measures_those_that_were_answered() {
        let recorder = Recorder::new(Duration::from_secs(10));
        for millis in 1..=100 {
            let since = Duration::from_millis(millis * 20);
            recorder.add(Kind::ALL[0], Outcome::Answered, Duration::from_millis(millis), since);
        }
        recorder.add(Kind::ALL[0], Outcome::Refused, Duration::from_secs(9), Duration::from_secs(1));
        recorder.add(Kind::ALL[2], Outcome::Unanswered, Duration::from_secs(9), Duration::from_secs(1));
        let posts = recorder.of(Kind::ALL[0].into(), Duration::from_secs(10));
        assert_eq!((posts.requests, posts.refused, posts.unanswered), (101, 1, 0));
        assert!((posts.answered_per_second - 10.0).abs() < 1e-9);
        assert!((posts.p50_ms - 50.0).abs() < 0.1 && (posts.p99_ms - 99.0).abs() < 0.1, "{posts:?}");
        let all = recorder.of(Selection::default(), Duration::from_secs(10));
        assert_eq!((all.requests, all.refused, all.unanswered), (102, 1, 1));
        assert_eq!(recorder.over_time().iter().map(|step| step.requests).collect::<Vec<_>>(), [49, 52, 1]);
    }

    #[test]
    fn a_long_run_has_no_more_steps_than_a_short_one() {
        let recorder = Recorder::new(Duration::from_hours(24));
        recorder.add(Kind::ALL[0], Outcome::Answered, Duration::from_millis(1), Duration::from_hours(24));
        assert!(recorder.over_time().len() <= 301);
    }
}
