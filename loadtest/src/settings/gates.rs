//! What a run must keep to, besides the promises that every run checks.

use std::str::FromStr;

use thiserror::Error;

use crate::{
    checks::gates::{Bound, Figure, Gate, Gates, Part},
    workload::kind::Selection,
};

/// A bound, and the requests that it is for.
type Given = (Part, f64);

#[derive(Debug, clap::Args)]
pub(super) struct GateArgs {
    /// The highest median latency in milliseconds.
    ///
    /// For all of these gates, a request without an answer counts as slower than all others, and a refused one does not
    /// count. Each may be given several times.
    #[arg(long, value_name = GATE_MS, value_parser = given)]
    max_p50_ms: Vec<Given>,

    /// The highest 90th percentile of latency in milliseconds.
    #[arg(long, value_name = GATE_MS, value_parser = given)]
    max_p90_ms: Vec<Given>,

    /// The highest 95th percentile of latency in milliseconds.
    #[arg(long, value_name = GATE_MS, value_parser = given)]
    max_p95_ms: Vec<Given>,

    /// The highest 99th percentile of latency in milliseconds.
    #[arg(long, value_name = GATE_MS, value_parser = given)]
    max_p99_ms: Vec<Given>,

    /// The highest latency in milliseconds of 99.9 % of requests.
    #[arg(long, value_name = GATE_MS, value_parser = given)]
    max_p999_ms: Vec<Given>,

    /// The highest latency of any request in milliseconds.
    #[arg(long, value_name = GATE_MS, value_parser = given)]
    max_ms: Vec<Given>,

    /// The highest 99th percentile of the milliseconds from sending an event to reading it in a count.
    #[arg(long, value_name = GATE_MS, value_parser = given)]
    max_seen_p99_ms: Vec<Given>,

    /// The lowest rate of answered requests per second.
    #[arg(long, value_name = "[KIND][@STEP=]N", value_parser = given)]
    min_rps: Vec<Given>,

    /// The highest share of requests, from 0 to 1, that are refused or not answered.
    #[arg(long, value_name = "[KIND][@STEP=]SHARE", value_parser = given_share)]
    max_error_rate: Vec<Given>,

    /// End the run as soon as it cannot pass any more.
    #[arg(long)]
    abort_on_fail: bool,
}

const GATE_MS: &str = "[KIND][@STEP=]MS";

#[expect(clippy::struct_field_names, reason = "the flags are named so")]
#[derive(Debug, clap::Args)]
pub(super) struct RatioArgs {
    /// The highest ratio of the median latency to that of the other run.
    ///
    /// For all of these gates, a ratio must be beyond the bound by more than the runs differ by themselves. Each may be
    /// given several times.
    #[arg(long, value_name = GATE_RATIO, value_parser = ratio, requires = "another_run")]
    max_p50_ratio: Vec<Given>,

    /// The highest ratio of the 90th percentile of latency.
    #[arg(long, value_name = GATE_RATIO, value_parser = ratio, requires = "another_run")]
    max_p90_ratio: Vec<Given>,

    /// The highest ratio of the 95th percentile of latency.
    #[arg(long, value_name = GATE_RATIO, value_parser = ratio, requires = "another_run")]
    max_p95_ratio: Vec<Given>,

    /// The highest ratio of the 99th percentile of latency.
    #[arg(long, value_name = GATE_RATIO, value_parser = ratio, requires = "another_run")]
    max_p99_ratio: Vec<Given>,

    /// The lowest ratio of the rate of answered requests.
    #[arg(long, value_name = GATE_RATIO, value_parser = ratio, requires = "another_run")]
    min_rps_ratio: Vec<Given>,
}

const GATE_RATIO: &str = "[KIND=]RATIO";

#[derive(Debug, Error)]
#[error(
    "accepted is a number from 0 up, KIND=NUMBER such as get=10 or post-past=50, or @STEP=NUMBER or KIND@STEP=NUMBER \
     for a step of the plan, counted from 1"
)]
struct InvalidGate;

fn given(text: &str) -> Result<Given, InvalidGate> {
    let (part, number) = text.rsplit_once('=').unwrap_or(("", text));
    let part = if part.is_empty() && text.contains('=') { None } else { part.parse().ok() };
    part.zip(bound(number).ok()).ok_or(InvalidGate)
}

fn given_share(text: &str) -> Result<Given, InvalidShare> {
    given(text).ok().filter(|(_, share)| *share <= 1.0).ok_or(InvalidShare)
}

#[derive(Debug, Error)]
#[error("accepted is a share from 0 to 1, of which 0.05 is 5 %, or KIND=SHARE, @STEP=SHARE or KIND@STEP=SHARE")]
struct InvalidShare;

/// The steps of a run are the rounds of the two that are compared, so a ratio is of all of them.
fn ratio(text: &str) -> Result<Given, InvalidRatio> {
    given(text).ok().filter(|(part, _)| part.step.is_none()).ok_or(InvalidRatio)
}

#[derive(Debug, Error)]
#[error("accepted is a number from 0 up, or KIND=NUMBER such as get=1.1 or post-past=1.3")]
struct InvalidRatio;

fn bound(text: &str) -> Result<f64, InvalidGate> {
    text.parse().ok().filter(|bound: &f64| bound.is_finite() && *bound >= 0.0).ok_or(InvalidGate)
}

impl FromStr for Part {
    type Err = InvalidPart;

    /// `KIND`, `@STEP`, both or nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, step) = match text.split_once('@') {
            None => (text, None),
            Some((kind, step)) => {
                let step: usize = step.parse().map_err(|_| InvalidPart)?;
                (kind, Some(step.checked_sub(1).ok_or(InvalidPart)?))
            }
        };
        let selection = if kind.is_empty() { Selection::default() } else { kind.parse().map_err(|_| InvalidPart)? };
        Ok(Self { selection, step })
    }
}

#[derive(Debug, Error)]
#[error("accepted is a kind of requests, @ and the number of a step, or both")]
pub(crate) struct InvalidPart;

/// What a run is judged by, if nothing else is said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unless {
    Capacity,
    Baseline,
    ComparedHost,
}

impl Unless {
    fn gates(self) -> &'static [(Figure, Bound)] {
        match self {
            Self::Capacity => &[(Figure::P99, Bound::Number(100.0)), (Figure::ErrorRate, Bound::Number(0.001))],
            Self::Baseline => &[(Figure::Rate, Bound::Ratio(0.5)), (Figure::P99, Bound::Ratio(2.0))],
            Self::ComparedHost => &[(Figure::Rate, Bound::Ratio(0.95)), (Figure::P50, Bound::Ratio(1.05))],
        }
    }
}

impl Gates {
    /// Adds the gates that are for this if no gate of their kind was given.
    pub(super) fn unless_given(mut self, unless: Unless) -> Self {
        let of_their_kind = |gate: &Gate| matches!(gate.bound, Bound::Number(_)) == matches!(unless, Unless::Capacity);
        if !self.all.iter().any(of_their_kind) {
            let gate = |&(figure, bound)| Gate { figure, part: Part::default(), bound };
            self.all.extend(unless.gates().iter().map(gate));
        }
        self
    }

    pub(super) fn given(gates: GateArgs, ratios: RatioArgs) -> Self {
        let number = [
            (Figure::P50, gates.max_p50_ms),
            (Figure::P90, gates.max_p90_ms),
            (Figure::P95, gates.max_p95_ms),
            (Figure::P99, gates.max_p99_ms),
            (Figure::P999, gates.max_p999_ms),
            (Figure::Max, gates.max_ms),
            (Figure::SeenP99, gates.max_seen_p99_ms),
            (Figure::Rate, gates.min_rps),
            (Figure::ErrorRate, gates.max_error_rate),
        ];
        let ratio = [
            (Figure::P50, ratios.max_p50_ratio),
            (Figure::P90, ratios.max_p90_ratio),
            (Figure::P95, ratios.max_p95_ratio),
            (Figure::P99, ratios.max_p99_ratio),
            (Figure::Rate, ratios.min_rps_ratio),
        ];
        let of = |bound: fn(f64) -> Bound| {
            move |(figure, given): (Figure, Vec<Given>)| {
                given.into_iter().map(move |(part, number)| Gate { figure, part, bound: bound(number) })
            }
        };
        let all = number.into_iter().flat_map(of(Bound::Number)).chain(ratio.into_iter().flat_map(of(Bound::Ratio)));
        Self { all: all.collect(), abort_on_fail: gates.abort_on_fail, min_capacity: None }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::{
        checks::gates::{Bound, Figure},
        settings::Args,
    };

    #[test]
    fn a_gate_is_a_number_with_a_kind_a_step_or_both() {
        let arguments =
            ["loadtest", "--max-p99-ms=15", "--max-p99-ms=post-past=50", "--max-ms=@2=7", "--min-rps=get@1=9"];
        let gates = Args::parse_from(arguments).into_settings().judging.gates.all;
        let read: Vec<String> =
            gates.iter().map(|gate| format!("{:?} {} {:?}", gate.figure, gate.part, gate.bound)).collect();
        let expected = [
            "P99 all requests Number(15.0)",
            "P99 POST past Number(50.0)",
            "Max step 2 Number(7.0)",
            "Rate GET of step 1 Number(9.0)",
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_gate_is_refused() {
        for gate in ["", "=3", "put=3", "@0=3", "@=3", "get@=3", "get@x=3", "get=", "get=-1", "nan", "inf", "1=2=3"] {
            let error = Args::try_parse_from(["loadtest", &format!("--max-ms={gate}")]).unwrap_err().to_string();
            assert!(error.contains("KIND=NUMBER") || gate.is_empty(), "{gate:?}: {error}");
        }
    }

    #[test]
    fn a_ratio_is_for_all_rounds_and_needs_another_run() {
        for (arguments, expected) in [
            (["--max-p99-ratio=@1=2", "--baseline=x"], "KIND=NUMBER"),
            (["--max-p99-ratio=2", "--shared"], "--baseline"),
        ] {
            let error = Args::try_parse_from(["loadtest"].iter().chain(&arguments)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_ratio_is_a_gate_too() {
        let gates = Args::parse_from(["loadtest", "--max-p99-ratio", "1.2", "--baseline", "report.json"])
            .into_settings()
            .judging
            .gates
            .all;
        assert_eq!((gates[0].figure, gates[0].bound), (Figure::P99, Bound::Ratio(1.2)));
    }
}
