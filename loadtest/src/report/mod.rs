//! The results of a run: `findings` says them in words, `table` is printed, `pictures` draws them by `charts`, the JSON
//! holds everything. `pipeline` writes what a pipeline reads: `junit`, `summary` and `annotations`.

mod annotations;
mod charts;
mod findings;
mod junit;
mod pictures;
mod pipeline;
mod summary;
mod table;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use thiserror::Error;

use crate::{
    baseline::Baseline,
    checks::{
        comparison::Comparison,
        gates::{Judged, judge},
    },
    measured::{Reads, series::Summary},
    record::Record,
    settings::Judging,
    workload::{
        kind::{Kind, Selection},
        schedule::Done,
    },
};

/// The version of report.json, which docs/load-testing.md describes. It grows with every incompatible change.
pub(crate) const FORMAT: u32 = 3;

pub(crate) const JSON: &str = "report.json";
pub(crate) const GOOSE: &str = "goose.html";

#[derive(Debug, Error)]
#[error("cannot write to {path}: {cause}; give a {kind} that can be written as {of}")]
pub(crate) struct Unwritable {
    /// The flag or the variable that names the file or the folder.
    of: &'static str,
    kind: &'static str,
    path: PathBuf,
    cause: io::Error,
}

impl Unwritable {
    fn file(of: &'static str, path: &Path, cause: io::Error) -> Self {
        Self { of, kind: "file", path: path.to_owned(), cause }
    }

    fn folder(path: &Path, cause: io::Error) -> Self {
        Self { of: "--report-dir", kind: "folder", path: path.to_owned(), cause }
    }
}

/// Makes the folder, and checks that all files can be written: otherwise a long run would fail at its end.
pub(crate) fn prepare(judging: &Judging) -> Result<(), Unwritable> {
    if let Some(dir) = &judging.outputs.report_dir {
        let names = [JSON, GOOSE].into_iter().chain(pictures::ALWAYS).chain(pictures::SOMETIMES);
        fs::create_dir_all(dir)
            .and_then(|()| names.into_iter().try_for_each(|name| can_be_written(&dir.join(name))))
            .map_err(|cause| Unwritable::folder(dir, cause))?;
    }
    judging.pipeline.prepare()
}

/// Leaves no file behind that was not there.
fn can_be_written(path: &Path) -> io::Result<()> {
    let is_new = !path.exists();
    fs::File::options().append(true).create(true).open(path)?;
    if is_new { fs::remove_file(path) } else { Ok(()) }
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    format: u32,
    passed: bool,
    #[serde(skip)]
    judging: Judging,
    steps: Vec<StepSummary>,
    all: Summary,
    kinds: Vec<KindSummary>,
    reads: Reads,
    gates: Vec<Judged>,
    comparison: Option<Comparison>,
    /// Why the run says more of the generator than of the server.
    generator_was_the_bottleneck: Option<String>,
    over_time: OverTime,
    #[serde(flatten)]
    record: Record,
}

#[derive(Debug, Serialize)]
struct KindSummary {
    kind: Kind,
    #[serde(flatten)]
    summary: Summary,
}

#[derive(Debug, Serialize)]
struct StepSummary {
    #[serde(flatten)]
    done: Done,
    offered: bool,
    #[serde(flatten)]
    summary: Summary,
}

#[derive(Debug, Serialize)]
struct OverTime {
    span_seconds: u64,
    spans: Vec<Summary>,
}

impl Report {
    pub(crate) fn new(
        judging: Judging,
        record: Record,
        baseline: Option<&Baseline>,
        comparison: Option<Comparison>,
    ) -> Self {
        let comparison = comparison.or_else(|| baseline.map(|baseline| baseline.compare(&record)));
        let (measured, lasted) = (&record.measured, record.lasted());
        let summary = |selection| measured.of(None, selection).summary(lasted);
        let all = summary(Selection::default());
        let bottleneck = record.generator.is_bottleneck(&all);
        let mut gates = match &record.capacity {
            // The others decided about each rate.
            Some(capacity) => judging.gates.min_capacity.map(|least| capacity.judge(least)).into_iter().collect(),
            None => judge(&judging.gates, measured, |step| record.lasted_of(step)),
        };
        if let Some(comparison) = &comparison {
            gates.extend(judging.gates.all.iter().filter_map(|gate| comparison.judge(gate)));
        }
        gates.extend(baseline.map(|baseline| baseline.judge_errors(measured)));
        if let Some(why) = &bottleneck {
            for judged in &mut gates {
                judged.doubt(&record.generator, why);
            }
        }
        let reads = measured.reads();
        let steps = record.plan.iter().enumerate().map(|(place, done)| StepSummary {
            done: done.clone(),
            offered: done.is_offered(),
            summary: measured.of(Some(place), Selection::default()).summary(done.lasted()),
        });
        let steps: Vec<StepSummary> = steps.collect();
        // A run without an answer proves nothing.
        let passed = all.answered() > 0
            && record.ledger.is_right()
            && record.ledger.late.is_empty()
            && reads.wrong == 0
            && record
                .capacity
                .as_ref()
                .map_or_else(|| steps.iter().all(|step| step.offered), |capacity| capacity.rate.is_some())
            && gates.iter().all(|judged| judged.met);
        let kinds = Kind::ALL.into_iter().map(|kind| KindSummary { kind, summary: summary(kind.into()) });
        let over_time = &measured.over_time;
        Self {
            format: FORMAT,
            passed,
            judging,
            steps,
            kinds: kinds.filter(|kind| kind.summary.requests > 0).collect(),
            all,
            reads,
            gates,
            comparison,
            generator_was_the_bottleneck: bottleneck,
            over_time: OverTime { span_seconds: over_time.span().as_secs(), spans: over_time.summaries() },
            record,
        }
    }

    pub(crate) fn passed(&self) -> bool {
        self.passed
    }

    /// Writes all files that were asked for, and returns which could not be written. The folder must exist.
    pub(crate) fn write_all(&self) -> Vec<Unwritable> {
        let of_the_folder =
            self.dir().and_then(|dir| self.write(dir).map_err(|cause| Unwritable::folder(dir, cause)).err());
        of_the_folder.into_iter().chain(self.judging.pipeline.write(self)).collect()
    }

    fn dir(&self) -> Option<&Path> {
        self.judging.outputs.report_dir.as_deref()
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        fs::write(dir.join(JSON), serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
        // A picture of an earlier run would be taken for one of this.
        for name in pictures::SOMETIMES.map(|name| dir.join(name)).iter().filter(|name| name.exists()) {
            fs::remove_file(name)?;
        }
        for (name, picture) in self.pictures() {
            fs::write(dir.join(name), picture)?;
        }
        Ok(())
    }

    fn pictures(&self) -> Vec<(&'static str, String)> {
        let gates = &self.judging.gates;
        let mut pictures = pictures::of(&self.record.measured, self.record.lasted()).to_vec();
        pictures.extend(self.record.capacity.as_ref().map(|capacity| pictures::of_capacity(capacity, gates)));
        pictures.extend(self.comparison.as_ref().map(|comparison| pictures::of_comparison(comparison, gates)));
        pictures
    }

    /// The names of what was written to the folder of the reports.
    fn files(&self) -> Vec<&'static str> {
        // Goose writes of the run that it makes, and a merge makes none.
        let goose = (self.record.runs.len() == 1).then_some(GOOSE);
        let capacity = self.record.capacity.as_ref().map(|_| pictures::CAPACITY);
        let comparison = self.comparison.as_ref().map(|_| pictures::COMPARISON);
        [JSON].into_iter().chain(goose).chain(pictures::ALWAYS).chain(capacity).chain(comparison).collect()
    }
}
