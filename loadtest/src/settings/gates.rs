//! What a run must keep to, besides the promises that every run checks.

use std::str::FromStr;

use thiserror::Error;

use crate::workload::kind::Selection;

#[derive(Debug, clap::Args)]
pub(super) struct GateArgs {
    /// The highest p99 latency in milliseconds. A request without an answer counts as slower than all others, a
    /// refused one does not count. May be given several times.
    #[arg(long, value_name = "[KIND=]MS")]
    max_p99_ms: Vec<Gate>,

    /// The lowest rate of answered requests per second. May be given several times.
    #[arg(long, value_name = "[KIND=]N")]
    min_rps: Vec<Gate>,

    /// The highest share of requests, from 0 to 1, that are refused or not answered. May be given several times.
    #[arg(long, value_name = "[KIND=]SHARE")]
    max_error_rate: Vec<Gate>,
}

impl From<GateArgs> for Gates {
    fn from(args: GateArgs) -> Self {
        let GateArgs { max_p99_ms, min_rps, max_error_rate } = args;
        Self { max_p99_ms, min_rps, max_error_rate }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gate {
    pub(crate) selection: Selection,
    pub(crate) bound: f64,
}

#[derive(Debug, Error)]
#[error("accepted is a number from 0 up, or KIND=NUMBER such as get=10 or post-past=50")]
pub(crate) struct InvalidGate;

impl FromStr for Gate {
    type Err = InvalidGate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (selection, bound) = match text.split_once('=') {
            Some((kind, bound)) => (kind.parse().map_err(|_| InvalidGate)?, bound),
            None => (Selection::default(), text),
        };
        let bound: f64 = bound.parse().map_err(|_| InvalidGate)?;
        if bound.is_finite() && bound >= 0.0 { Ok(Self { selection, bound }) } else { Err(InvalidGate) }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Gates {
    /// Milliseconds.
    pub(crate) max_p99_ms: Vec<Gate>,
    /// Answers a second.
    pub(crate) min_rps: Vec<Gate>,
    /// Share of requests.
    pub(crate) max_error_rate: Vec<Gate>,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::{settings::Args, workload::kind::Kind};

    #[test]
    fn a_gate_is_a_number_or_a_kind_with_a_number() {
        let arguments = ["loadtest", "--max-p99-ms", "15", "--max-p99-ms", "post-past=50"];
        let gates = Args::parse_from(arguments).into_settings().gates.max_p99_ms;
        let bounds: Vec<(usize, f64)> = gates
            .iter()
            .map(|gate| (Kind::ALL.into_iter().filter(|&kind| gate.selection.holds(kind)).count(), gate.bound))
            .collect();
        assert_eq!(format!("{bounds:?}"), "[(6, 15.0), (1, 50.0)]");
    }
}
