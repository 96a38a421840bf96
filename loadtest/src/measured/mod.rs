//! What a run measured: by step of its plan and kind of request, and over time. Two of runs that were made at the same
//! time can be added.

pub(crate) mod latencies;
pub(crate) mod series;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use self::{
    latencies::{Latencies, Precision},
    series::{Outcome, Series, Summary},
};
use crate::workload::kind::{Kind, Selection};

/// A run has at most so many spans over time, of a second or more each, so that a long one takes no more memory than a
/// short one.
const MOST_SPANS: u64 = 300;

/// The most complaints, and the most examples, that are kept.
const MOST_KEPT: usize = 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    #[serde(skip)]
    precision: Precision,
    /// By step of the plan.
    steps: Vec<ByKind>,
    pub(crate) over_time: OverTime,
    reads: ReadsMeasured,
    /// Unexpected answers: the first few that differ.
    pub(crate) complaints: Vec<String>,
}

/// The requests of a step, by kind.
#[derive(Debug, Clone, Default)]
struct ByKind(Vec<Series>);

/// Requests by when they ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OverTime {
    pub(crate) began_at: DateTime<Utc>,
    span_seconds: u64,
    pub(crate) spans: Vec<Series>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ReadsMeasured {
    checked: u64,
    wrong: u64,
    examples: Vec<String>,
    /// From sending a POST to the answer of a GET that counts it.
    seen: Latencies,
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

impl Measured {
    /// For a run that lasts at most so long. The precision is that of each step.
    pub(crate) fn with_precision(longest: Duration, precision: Precision) -> Self {
        let span_seconds = longest.as_secs().div_ceil(MOST_SPANS).max(1);
        Self {
            precision,
            steps: Vec::new(),
            over_time: OverTime { began_at: Utc::now(), span_seconds, spans: Vec::new() },
            reads: ReadsMeasured { checked: 0, wrong: 0, examples: Vec::new(), seen: Latencies::new(Precision::Fine) },
            complaints: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn new(longest: Duration) -> Self {
        Self::with_precision(longest, Precision::Fine)
    }

    /// `ended` is how long after the start of the run the request did.
    pub(crate) fn record(&mut self, step: usize, kind: Kind, outcome: Outcome, latency: Duration, ended: Duration) {
        let precision = self.precision;
        self.step(step).of(kind, precision).record(outcome, latency);
        self.over_time.record(outcome, latency, ended);
    }

    /// The same for a request that was answered when its step was over.
    pub(crate) fn record_late(&mut self, step: usize, kind: Kind, latency: Duration, ended: Duration) {
        self.record(step, kind, Outcome::Answered, latency, ended);
        let precision = self.precision;
        self.step(step).of(kind, precision).record_late();
    }

    pub(crate) fn record_read(&mut self, fault: Option<String>) {
        self.reads.checked += 1;
        if let Some(fault) = fault {
            self.reads.wrong += 1;
            if self.reads.examples.len() < MOST_KEPT {
                self.reads.examples.push(fault);
            }
        }
    }

    pub(crate) fn record_seen(&mut self, after: Duration) {
        self.reads.seen.record(after);
    }

    /// Keeps an unexpected answer, if it is among the first few that differ.
    pub(crate) fn complain(&mut self, complaint: impl FnOnce() -> String) {
        if self.complaints.len() < MOST_KEPT {
            let complaint = complaint();
            // Many requests may fail for the same reason and hide the others.
            if !self.complaints.contains(&complaint) {
                self.complaints.push(complaint);
            }
        }
    }

    /// Some kinds of requests together, of one step or of all.
    pub(crate) fn of(&self, step: Option<usize>, selection: Selection) -> Series {
        let mut all = Series::new(Precision::Fine);
        let steps = self.steps.iter().enumerate().filter(|(place, _)| step.is_none_or(|step| step == *place));
        for (_, by_kind) in steps {
            let selected = Kind::ALL.into_iter().zip(&by_kind.0).filter(|(kind, _)| selection.holds(*kind));
            selected.for_each(|(_, series)| all.add(series));
        }
        all
    }

    pub(crate) fn reads(&self) -> Reads {
        let ReadsMeasured { checked, wrong, examples, seen } = &self.reads;
        Reads {
            checked: *checked,
            wrong: *wrong,
            examples: examples.clone(),
            pairs: seen.len(),
            seen_p50_ms: seen.quantile_ms(0.5),
            seen_p99_ms: seen.quantile_ms(0.99),
        }
    }

    /// Adds what another run measured at the same time.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), OtherSpans> {
        self.over_time.add(&other.over_time)?;
        for (place, by_kind) in other.steps.iter().enumerate() {
            Kind::ALL
                .into_iter()
                .zip(&by_kind.0)
                .for_each(|(kind, series)| self.step(place).of(kind, Precision::Fine).add(series));
        }
        self.reads.checked += other.reads.checked;
        self.reads.seen.add(&other.reads.seen);
        self.reads.wrong += other.reads.wrong;
        let room = MOST_KEPT.saturating_sub(self.reads.examples.len());
        self.reads.examples.extend(other.reads.examples.iter().take(room).cloned());
        other.complaints.iter().for_each(|complaint| self.complain(|| complaint.clone()));
        Ok(())
    }

    fn step(&mut self, place: usize) -> &mut ByKind {
        if self.steps.len() <= place {
            self.steps.resize(place + 1, ByKind::default());
        }
        &mut self.steps[place]
    }
}

impl ByKind {
    /// The precision is for what is new.
    fn of(&mut self, kind: Kind, precision: Precision) -> &mut Series {
        let place = kind.index();
        if self.0.len() <= place {
            self.0.resize(place + 1, Series::new(precision));
        }
        &mut self.0[place]
    }
}

/// By the names of kinds, so that a report can be read by a later version that knows more of them.
impl Serialize for ByKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Kind::ALL.into_iter().zip(&self.0).filter(|(_, series)| series.requests() > 0))
    }
}

impl<'de> Deserialize<'de> for ByKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut by_kind = Self::default();
        for (kind, series) in std::collections::BTreeMap::<String, Series>::deserialize(deserializer)? {
            let known = Kind::ALL.into_iter().find(|known| known.to_string() == kind);
            let known = known.ok_or_else(|| serde::de::Error::custom(format!("{kind:?} is no kind of request")))?;
            *by_kind.of(known, Precision::Fine) = series;
        }
        Ok(by_kind)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one report has spans of {one} s, the other of {other} s: give all runs the same --run-time")]
pub(crate) struct OtherSpans {
    one: u64,
    other: u64,
}

impl OverTime {
    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.span_seconds)
    }

    pub(crate) fn summaries(&self) -> Vec<Summary> {
        self.spans.iter().map(|series| series.summary(self.span())).collect()
    }

    fn record(&mut self, outcome: Outcome, latency: Duration, ended: Duration) {
        let place = usize::try_from(ended.as_secs() / self.span_seconds).unwrap_or(usize::MAX);
        // Requests that end after the run belong to no span.
        if place <= usize::try_from(MOST_SPANS).expect("it is small") {
            self.make_room(place + 1);
            self.spans[place].record(outcome, latency);
        }
    }

    fn add(&mut self, other: &Self) -> Result<(), OtherSpans> {
        if self.span_seconds != other.span_seconds {
            return Err(OtherSpans { one: self.span_seconds, other: other.span_seconds });
        }
        let earlier = self.began_at.min(other.began_at);
        let mut spans = Vec::new();
        for over_time in [&*self, other] {
            let later = (over_time.began_at - earlier).to_std().unwrap_or_default();
            let first = usize::try_from(later.as_secs() / self.span_seconds).unwrap_or(usize::MAX);
            for (place, series) in over_time.spans.iter().enumerate() {
                let place = first.saturating_add(place);
                if place > 2 * usize::try_from(MOST_SPANS).expect("it is small") {
                    break;
                }
                if spans.len() <= place {
                    spans.resize(place + 1, Series::new(Precision::Coarse));
                }
                spans[place].add(series);
            }
        }
        (self.began_at, self.spans) = (earlier, spans);
        Ok(())
    }

    pub(crate) fn is_possible(&self) -> bool {
        (1..=MOST_SPANS).contains(&self.span_seconds) && self.spans.len() as u64 <= 2 * MOST_SPANS + 1
    }

    fn make_room(&mut self, spans: usize) {
        if self.spans.len() < spans {
            self.spans.resize(spans, Series::new(Precision::Coarse));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Measured, series::Outcome};
    use crate::workload::kind::{Kind, Selection};

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_summary_counts_every_request_and_measures_those_that_were_answered() {
        let mut measured = Measured::new(Duration::from_secs(10));
        for number in 1..=100 {
            measured.record(0, Kind::ALL[0], Outcome::Answered, millis(number), millis(number * 20));
        }
        measured.record(1, Kind::ALL[0], Outcome::Refused, millis(9_000), millis(1_000));
        measured.record(1, Kind::ALL[2], Outcome::Unanswered, millis(9_000), millis(1_000));
        let posts = measured.of(None, Kind::ALL[0].into()).summary(Duration::from_secs(10));
        assert_eq!((posts.requests, posts.refused, posts.unanswered), (101, 1, 0));
        assert!((posts.answered_per_second - 10.0).abs() < 1e-9);
        assert!((posts.p50_ms - 50.0).abs() < 0.1 && (posts.p99_ms - 99.0).abs() < 0.1, "{posts:?}");
        let all = measured.of(None, Selection::default());
        assert_eq!((all.requests(), all.refused, all.unanswered), (102, 1, 1));
        assert_eq!(measured.of(Some(1), Selection::default()).requests(), 2, "a step has only its own");
        let spans: Vec<u64> = measured.over_time.spans.iter().map(super::Series::requests).collect();
        assert_eq!(spans, [49, 52, 1]);
    }

    #[test]
    fn a_long_run_has_no_more_spans_than_a_short_one() {
        let mut measured = Measured::new(Duration::from_hours(24));
        measured.record(0, Kind::ALL[0], Outcome::Answered, millis(1), Duration::from_hours(24));
        assert!(measured.over_time.spans.len() <= 301);
    }

    #[test]
    fn runs_at_the_same_time_are_added_each_second_where_it_was_and_a_report_keeps_all_of_it() {
        let mut early = Measured::new(Duration::from_secs(10));
        let mut late = Measured::new(Duration::from_secs(10));
        late.over_time.began_at = early.over_time.began_at + chrono::TimeDelta::milliseconds(2_900);
        early.record(0, Kind::ALL[0], Outcome::Answered, millis(5), millis(100));
        late.record(1, Kind::ALL[1], Outcome::Answered, millis(7), millis(100));
        late.record_read(Some("wrong".to_owned()));
        late.complain(|| "odd".to_owned());
        let kept: Measured = serde_json::from_str(&serde_json::to_string(&late).unwrap()).unwrap();
        for (mut one, other) in [(early.clone(), &kept), (kept.clone(), &early)] {
            one.add(other).unwrap();
            let spans: Vec<u64> = one.over_time.spans.iter().map(super::Series::requests).collect();
            assert_eq!(spans, [1, 0, 1]);
            let steps = [0, 1].map(|step| one.of(Some(step), Selection::default()).requests());
            assert_eq!((steps, one.reads().wrong, one.complaints.len()), ([1, 1], 1, 1));
        }
        assert!(early.add(&Measured::new(Duration::from_hours(24))).is_err());
    }
}
