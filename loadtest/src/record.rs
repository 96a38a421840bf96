//! What was seen in a run, as report.json keeps it: reports are made of it, and those of several runs can be added.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    checks::comparison::{Comparison, Spread, pairs_of_rounds},
    checks::verdict::{NotTogether, Verdict},
    generator::Generator,
    measured::{Measured, series::MOST},
    report::{self, FORMAT},
    run::Capacity,
    settings::Settings,
    workload::schedule::Done,
};

/// A run lasts at most a day, and its last requests a little longer.
const LONGEST: Duration = Duration::from_hours(25);

/// All that was seen in a run. A report is made of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Of each generator.
    pub(crate) runs: Vec<RunSettings>,
    pub(crate) began_at: DateTime<Utc>,
    /// Why the run was ended before its time, if it was because it could not pass any more.
    pub(crate) ended_early: Option<String>,
    /// How long requests were made.
    pub(crate) lasted_seconds: f64,
    pub(crate) plan: Vec<Done>,
    pub(crate) measured: Measured,
    pub(crate) retries_made: u64,
    pub(crate) ledger: Verdict,
    pub(crate) generator: Generator,
    /// If it was looked for.
    pub(crate) capacity: Option<Capacity>,
}

#[derive(Debug, Error)]
pub(crate) enum ReadError {
    #[error("cannot read {0}: {1}; give a report.json of loadtest")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("{0} is no report of loadtest: {1}; give a report.json")]
    NoReport(PathBuf, #[source] serde_json::Error),
    #[error(
        "{0} is no report of loadtest: its times or its counts are impossible; give a report.json as it was written"
    )]
    Impossible(PathBuf),
    #[error("{0} is a report in format {1}, and this version reads {FORMAT}; make it anew")]
    OtherFormat(PathBuf, u32),
}

#[derive(Debug, Error)]
pub(crate) enum NotMerged {
    #[error("both are of the same run; give the report of each run once")]
    SameRun,
    #[error("their plans differ; make all runs with the same steps")]
    OtherPlan,
    #[error(transparent)]
    Ledger(#[from] NotTogether),
    #[error("they were not made at the same time: one had ended before the other began")]
    OtherTime,
}

/// What a run was asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunSettings {
    /// No other run has it.
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) seed: u64,
    /// For people.
    pub(crate) settings: serde_json::Value,
}

impl RunSettings {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            host: settings.told_hosts(),
            seed: settings.seed,
            settings: serde_json::to_value(settings).unwrap_or_default(),
        }
    }
}

/// The path itself or, of a folder, NAME.json and NAME/report.json in it.
pub(crate) fn reports_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut reports = Vec::new();
    for entry in fs::read_dir(path)? {
        let inside = entry?.path();
        let of_a_run = inside.join(report::JSON);
        if of_a_run.is_file() {
            reports.push(of_a_run);
        } else if inside.extension().is_some_and(|extension| extension == "json") {
            reports.push(inside);
        }
    }
    reports.sort();
    Ok(reports)
}

impl Record {
    /// Of a report.json.
    pub(crate) fn read(path: &Path) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let bytes = fs::read(path).map_err(|error| ReadError::Unreadable(path.to_owned(), error))?;
        let no_report = |error| ReadError::NoReport(path.to_owned(), error);
        match serde_json::from_slice(&bytes).map_err(no_report)? {
            Format { format: FORMAT } => {
                let record: Self = serde_json::from_slice(&bytes).map_err(no_report)?;
                if record.is_possible() { Ok(record) } else { Err(ReadError::Impossible(path.to_owned())) }
            }
            Format { format } => Err(ReadError::OtherFormat(path.to_owned(), format)),
        }
    }

    /// Whether a run could have written it: a file may hold anything.
    fn is_possible(&self) -> bool {
        let lasted = 0.0..=LONGEST.as_secs_f64();
        let step = |done: &Done| {
            lasted.contains(&done.lasted_seconds)
                && done.step.lasts <= LONGEST
                && [done.due.unwrap_or_default(), done.begun].into_iter().all(|requests| requests <= MOST)
        };
        lasted.contains(&self.lasted_seconds)
            // Times can be added to it.
            && (0..i64::from(u32::MAX)).contains(&self.began_at.timestamp())
            && self.plan.iter().all(step)
            && self.retries_made <= MOST
            && self.generator.is_possible()
            && self.measured.is_possible()
            && self.ledger.is_possible()
    }

    /// Adds a run that was made at the same time.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<(), NotMerged> {
        if self.runs.iter().any(|run| other.runs.iter().any(|other| run.id == other.id)) {
            return Err(NotMerged::SameRun);
        }
        if self.ends_at() < other.began_at || other.ends_at() < self.began_at {
            return Err(NotMerged::OtherTime);
        }
        self.ledger.merge(&other.ledger)?;
        self.measured.add(&other.measured);
        if self.plan.len() != other.plan.len()
            || !self.plan.iter_mut().zip(&other.plan).all(|(step, other)| step.add(other))
        {
            return Err(NotMerged::OtherPlan);
        }
        let ends_at = self.ends_at().max(other.ends_at());
        self.began_at = self.began_at.min(other.began_at);
        self.lasted_seconds = (ends_at - self.began_at).as_seconds_f64();
        self.runs.extend(other.runs.iter().cloned());
        self.retries_made += other.retries_made;
        self.generator.add(&other.generator);
        self.ended_early = self.ended_early.take().or_else(|| other.ended_early.clone());
        Ok(())
    }

    fn ends_at(&self) -> DateTime<Utc> {
        self.began_at + self.lasted()
    }

    /// Where the server listens, as the first generator knows it.
    pub(crate) fn host(&self) -> &str {
        self.runs.first().map_or("", |run| &run.host)
    }

    /// What repeats the choices of the run.
    pub(crate) fn seeds(&self) -> String {
        let seeds: Vec<String> = self.runs.iter().map(|run| run.seed.to_string()).collect();
        format!("seed {}", seeds.join(", "))
    }

    pub(crate) fn lasted(&self) -> Duration {
        Duration::try_from_secs_f64(self.lasted_seconds).unwrap_or_default()
    }

    /// Of a run in which two hosts took turns, in pairs of rounds.
    pub(crate) fn compare_sides(&self, old: &str) -> Comparison {
        Comparison::new(old.to_owned(), pairs_of_rounds(&self.measured, &self.plan), Spread::Confidence)
    }

    /// How long a step lasted, or all of the run.
    pub(crate) fn lasted_of(&self, step: Option<usize>) -> Duration {
        let Some(step) = step else { return self.lasted() };
        self.plan.get(step).map(Done::lasted).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use chrono::{TimeDelta, Utc};
    use serde_json::json;

    use super::{NotMerged, Record};
    use crate::{
        checks::verdict::tests::verdict,
        measured::{Measured, latencies::Precision},
        report::FORMAT,
        workload::{plan::Step, schedule::Done},
    };

    /// Of a part of a run.
    fn record(id: &str) -> Record {
        let second = Duration::from_secs(1);
        let generator = json!({ "cpu_seconds": 1.0, "processors": 2, "busy": 0.5, "late_p50_ms": 0.0, "late_p99_ms": 1.0, "late_max_ms": 2.0 });
        let runs = json!([{ "id": id, "host": "http://a", "seed": 7, "settings": {} }]);
        Record {
            runs: serde_json::from_value(runs).unwrap(),
            began_at: Utc::now(),
            ended_early: None,
            lasted_seconds: 1.0,
            plan: vec![Done { step: Step::of_rate(second, 10), lasted_seconds: 1.0, due: Some(10), begun: 10 }],
            measured: Measured::new(Precision::Fine),
            retries_made: 1,
            ledger: verdict(true),
            generator: serde_json::from_value(generator).unwrap(),
            capacity: None,
        }
    }

    /// What a run writes, as far as it is read again.
    pub(crate) fn report_file(format: u32) -> String {
        let mut report = serde_json::to_value(record("a")).unwrap();
        report["format"] = format.into();
        report.to_string()
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        std::fs::write(&path, report_file(FORMAT)).unwrap();
        let read = Record::read(&path).unwrap();
        assert_eq!((read.seeds().as_str(), read.plan[0].begun), ("seed 7", 10));
    }

    #[test]
    fn runs_at_the_same_time_are_one_of_their_rates_together() {
        let mut merged = record("a");
        merged.merge(&record("b")).unwrap();
        assert_eq!((merged.plan[0].step.rate(), merged.plan[0].due, merged.retries_made), (Some(20), Some(20), 2));
        assert_eq!((merged.seeds().as_str(), merged.generator.processors), ("seed 7, 7", 4));
    }

    #[test]
    fn what_does_not_belong_together_is_not_merged() {
        let merge = |other: Record| record("a").merge(&other).unwrap_err();
        assert!(matches!(merge(record("a")), NotMerged::SameRun));
        let later = Record { began_at: Utc::now() + TimeDelta::seconds(9), ..record("b") };
        assert!(matches!(merge(later), NotMerged::OtherTime));
        assert!(matches!(merge(Record { plan: Vec::new(), ..record("b") }), NotMerged::OtherPlan));
        assert!(matches!(merge(Record { ledger: verdict(false), ..record("b") }), NotMerged::Ledger(_)));
    }
}
