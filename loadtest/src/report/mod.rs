//! The results of a run: `table` is printed, `plot` draws them over time, the JSON holds everything.

mod plot;
mod table;

use std::{fs, io, path::Path, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    checks::{
        gates::{Judged, judge},
        verdict::Verdict,
    },
    recorder::{Reads, Summary},
    settings::Settings,
    traffic::Traffic,
    workload::{
        kind::{Kind, Selection},
        schedule::Offered,
    },
};

/// The version of report.json, which docs/load-testing.md describes. It grows with every incompatible change.
const FORMAT: u32 = 2;

const JSON: &str = "report.json";
const THROUGHPUT: &str = "throughput.svg";
const LATENCY: &str = "latency.svg";
pub(crate) const GOOSE: &str = "goose.html";

/// Makes the folder, and checks that the files can be written: otherwise a long run would fail at its end.
pub(crate) fn prepare(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for name in [JSON, THROUGHPUT, LATENCY, GOOSE] {
        let path = dir.join(name);
        let is_new = !path.exists();
        fs::File::options().append(true).create(true).open(&path)?;
        if is_new {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    format: u32,
    passed: bool,
    began_at: DateTime<Utc>,
    lasted_seconds: f64,
    settings: Settings,
    offered: Option<Offered>,
    all: Summary,
    retries_made: u64,
    kinds: Vec<KindSummary>,
    reads: Reads,
    ledger: Verdict,
    gates: Vec<Judged>,
    complaints: Vec<String>,
    over_time: OverTime,
}

#[derive(Debug, Serialize)]
struct KindSummary {
    kind: Kind,
    #[serde(flatten)]
    summary: Summary,
}

#[derive(Debug, Serialize)]
struct OverTime {
    step_seconds: u64,
    steps: Vec<Summary>,
}

impl Report {
    pub(crate) fn new(
        settings: Settings,
        traffic: &Traffic,
        ledger: Verdict,
        began_at: DateTime<Utc>,
        lasted: Duration,
    ) -> Self {
        let recorder = &traffic.recorder;
        let offered = traffic.schedule.offered(lasted);
        let gates = judge(&settings.gates, recorder, lasted);
        let reads = recorder.reads();
        let all = recorder.of(Selection::default(), lasted);
        // A run without an answer proves nothing.
        let passed = all.answered() > 0
            && ledger.is_right()
            && reads.wrong == 0
            && offered.is_none_or(|offered| offered.met)
            && gates.iter().all(|judged| judged.met);
        let kinds = Kind::ALL.into_iter().map(|kind| KindSummary { kind, summary: recorder.of(kind.into(), lasted) });
        Self {
            format: FORMAT,
            passed,
            began_at,
            lasted_seconds: lasted.as_secs_f64(),
            settings,
            offered,
            all,
            retries_made: traffic.retries.made(),
            kinds: kinds.filter(|kind| kind.summary.requests > 0).collect(),
            reads,
            ledger,
            gates,
            complaints: recorder.complaints(),
            over_time: OverTime { step_seconds: recorder.step().as_secs(), steps: recorder.over_time() },
        }
    }

    pub(crate) fn passed(&self) -> bool {
        self.passed
    }

    pub(crate) fn dir(&self) -> Option<&Path> {
        self.settings.outputs.report_dir.as_deref()
    }

    /// The folder must exist.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        fs::write(dir.join(JSON), serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
        let OverTime { step_seconds, steps } = &self.over_time;
        // The last step is shorter than the others, so its rate means nothing.
        let whole = &steps[..steps.len().saturating_sub(1).max(steps.len().min(1))];
        let series =
            |name, of: fn(&Summary) -> Option<f64>| plot::Series { name, values: whole.iter().map(of).collect() };
        let throughput = plot::Plot {
            title: "Requests answered a second",
            step_seconds: *step_seconds,
            series: vec![series("answered", |step| Some(step.answered_per_second))],
        };
        let latency = plot::Plot {
            title: "Latency in milliseconds",
            step_seconds: *step_seconds,
            series: vec![
                series("p50", |step| latency_of(step, step.p50_ms)),
                series("p90", |step| latency_of(step, step.p90_ms)),
                series("p99", |step| latency_of(step, step.p99_ms)),
            ],
        };
        fs::write(dir.join(THROUGHPUT), throughput.to_string())?;
        fs::write(dir.join(LATENCY), latency.to_string())
    }
}

/// Without an answer there is no latency, rather than a short one.
fn latency_of(step: &Summary, latency: f64) -> Option<f64> {
    (step.answered() > 0).then_some(latency)
}
