//! What a run measured: by step of its plan and kind of request, and over time. Two of runs that were made at the same
//! time can be added.

pub(crate) mod latencies;
pub(crate) mod over_time;
pub(crate) mod series;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::{
    latencies::Precision,
    over_time::OverTime,
    series::{Outcome, Series},
};
use crate::workload::kind::{Kind, Selection};

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

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ReadsMeasured {
    checked: u64,
    wrong: u64,
    examples: Vec<String>,
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
    /// The precision is that of each step.
    pub(crate) fn new(precision: Precision) -> Self {
        Self {
            precision,
            steps: Vec::new(),
            over_time: OverTime::new(),
            reads: ReadsMeasured { checked: 0, wrong: 0, examples: Vec::new() },
            complaints: Vec::new(),
        }
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

    /// A GET has shown an event that was sent so long ago, or has not.
    pub(crate) fn record_seen(&mut self, step: usize, kind: Kind, after: Option<Duration>) {
        let precision = self.precision;
        self.step(step).of(kind, precision).record_seen(after);
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
        let ReadsMeasured { checked, wrong, examples } = &self.reads;
        let all = self.of(None, Selection::default());
        let (pairs, seen) = (all.pairs(), all.seen);
        let quantile_ms = |quantile| seen.as_ref().map_or(0.0, |seen| seen.quantile_ms(quantile));
        Reads {
            checked: *checked,
            wrong: *wrong,
            examples: examples.clone(),
            pairs,
            seen_p50_ms: quantile_ms(0.5),
            seen_p99_ms: quantile_ms(0.99),
        }
    }

    /// Adds what another run measured at the same time.
    pub(crate) fn add(&mut self, other: &Self) {
        self.over_time.add(&other.over_time);
        for (place, by_kind) in other.steps.iter().enumerate() {
            Kind::ALL
                .into_iter()
                .zip(&by_kind.0)
                .for_each(|(kind, series)| self.step(place).of(kind, Precision::Fine).add(series));
        }
        self.reads.checked += other.reads.checked;
        self.reads.wrong += other.reads.wrong;
        let room = MOST_KEPT.saturating_sub(self.reads.examples.len());
        self.reads.examples.extend(other.reads.examples.iter().take(room).cloned());
        other.complaints.iter().for_each(|complaint| self.complain(|| complaint.clone()));
    }

    /// Whether a run could have measured it.
    pub(crate) fn is_possible(&self) -> bool {
        self.over_time.is_possible()
            && self.steps.iter().flat_map(|step| &step.0).all(Series::is_possible)
            && [self.reads.checked, self.reads.wrong].into_iter().all(|count| count <= series::MOST)
    }

    /// Reads that were wrong.
    pub(crate) fn wrong_reads(&self) -> u64 {
        self.reads.wrong
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        Measured,
        latencies::Precision,
        series::{Outcome, Series},
    };
    use crate::workload::kind::{Kind, Selection};

    fn measured() -> Measured {
        Measured::new(Precision::Fine)
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_summary_counts_every_request_and_measures_those_that_were_answered() {
        let mut measured = measured();
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
        let spans: Vec<u64> = measured.over_time.spans.iter().map(Series::requests).collect();
        assert_eq!(spans, [49, 52, 1]);
    }

    #[test]
    fn runs_at_the_same_time_are_added_and_a_report_keeps_all_of_it() {
        let (mut one, mut other) = (measured(), measured());
        one.record(0, Kind::ALL[0], Outcome::Answered, millis(5), millis(100));
        other.record(1, Kind::ALL[1], Outcome::Answered, millis(7), millis(100));
        other.record_read(Some("wrong".to_owned()));
        other.complain(|| "odd".to_owned());
        let kept: Measured = serde_json::from_str(&serde_json::to_string(&other).unwrap()).unwrap();
        for (mut one, other) in [(one.clone(), &kept), (kept.clone(), &one)] {
            one.add(other);
            let steps = [0, 1].map(|step| one.of(Some(step), Selection::default()).requests());
            assert_eq!((steps, one.reads().wrong, one.complaints.len()), ([1, 1], 1, 1));
        }
    }
}
