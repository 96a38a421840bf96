use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    generator::Generator,
    measured::{Measured, series::Series},
    workload::kind::Selection,
};

#[derive(Debug, Clone, Default)]
pub(crate) struct Gates {
    pub(crate) all: Vec<Gate>,
    /// End the run as soon as it cannot pass any more.
    pub(crate) abort_on_fail: bool,
    /// The lowest capacity, in requests a second.
    pub(crate) min_capacity: Option<u32>,
}

impl Gates {
    /// The bound of a figure of all requests.
    pub(crate) fn number(&self, figure: Figure) -> Option<f64> {
        self.all.iter().find_map(|gate| match gate.bound {
            Bound::Number(bound) if gate.figure == figure && gate.part == Part::default() => Some(bound),
            _ => None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gate {
    pub(crate) figure: Figure,
    pub(crate) part: Part,
    pub(crate) bound: Bound,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    /// In the unit of the figure.
    Number(f64),
    /// Of the figure to that of another run.
    Ratio(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    P50,
    P90,
    P95,
    P99,
    P999,
    Max,
    /// From sending an event to reading it in a count.
    SeenP99,
    /// Answers a second.
    Rate,
    /// Of requests, those that were refused or not answered.
    ErrorRate,
}

/// Some kinds of requests, of one step of the plan or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) selection: Selection,
    /// Its place in the plan.
    pub(crate) step: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Judged {
    /// The figure, and the requests that it is of.
    pub(crate) gate: String,
    pub(crate) bound: f64,
    #[serde(skip)]
    pub(super) limit: Limit,
    /// Of the bound and of what was measured; empty for a number of things and a share.
    pub(super) unit: &'static str,
    /// None if too few requests were answered; then the gate is missed.
    pub(crate) measured: Option<f64>,
    pub(crate) met: bool,
    /// Why what was measured does not decide it.
    pub(crate) note: Option<String>,
    #[serde(skip)]
    pub(super) proof: Proof,
}

impl Judged {
    pub(crate) fn new(gate: String, limit: Limit, bound: f64, measured: Option<f64>, met: bool) -> Self {
        Self { gate, bound, limit, unit: "", measured, met, note: None, proof: Proof::Itself }
    }

    /// What is asked.
    pub(crate) fn name(&self) -> String {
        let limit = match self.limit {
            Limit::Upper => "at most",
            Limit::Lower => "at least",
        };
        format!("{} {limit} {}", self.gate, self.told(self.bound))
    }

    pub(crate) fn finding(&self) -> String {
        let measured = self.measured.map_or_else(
            || "too few requests were answered to measure it".to_owned(),
            |measured| format!("it was {}", self.told(measured)),
        );
        let note = self.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
        format!("{measured}{note}")
    }

    pub(super) fn of_ratio(gate: &Gate, bound: f64, measured: Option<f64>, met: bool) -> Self {
        Self { proof: Proof::Ratio, ..Self::new(gate.to_string(), gate.figure.limit(), bound, measured, met) }
    }

    /// A number with its unit, and no more digits than say something.
    fn told(&self, number: f64) -> String {
        // Small ones keep their first digits: one error in a hundred thousand is not none.
        let decimals = if number == 0.0 { 0.0 } else { (3.0 - number.abs().log10().floor()).clamp(4.0, 12.0) };
        let rounded = (number * 10_f64.powf(decimals)).round() / 10_f64.powf(decimals);
        let separator = if self.unit.is_empty() { "" } else { " " };
        format!("{rounded}{separator}{}", self.unit)
    }

    /// A gate that is met proves nothing if a slower generator would have met it too. What it is late makes latencies
    /// longer, so those within a bound by more than that are.
    pub(crate) fn doubt(&mut self, generator: &Generator, why: &str) {
        let is_proven = match self.proof {
            Proof::Itself => true,
            Proof::Ratio => !generator.is_busy(),
            Proof::Latency => {
                let most = self.measured.map(|measured| measured + generator.late_p99_ms);
                !generator.is_busy() && most.is_some_and(|most| most <= self.bound)
            }
        };
        if self.met && !is_proven {
            self.met = false;
            self.note = Some(format!("which proves nothing, since the generator was the bottleneck: {why}"));
        }
    }
}

/// On which side of its bound a figure must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Upper,
    Lower,
}

/// What a gate that is met takes for granted of the generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Itself,
    Latency,
    Ratio,
}

impl Figure {
    /// None if too few requests were answered. `lasted` is how long they were made.
    pub(crate) fn of(self, series: &Series, lasted: Duration) -> Option<f64> {
        match self {
            _ if series.requests() == 0 => None,
            Self::SeenP99 => series.kept_until_seen_ms(0.99),
            Self::Rate => Some(series.answered_per_second(lasted)),
            Self::ErrorRate => Some(series.error_rate()),
            latency => series.kept_ms(latency.quantile().unwrap_or(1.0)),
        }
    }

    /// None if it is not a latency of requests, or that of the slowest.
    pub(crate) fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.5),
            Self::P90 => Some(0.9),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            Self::P999 => Some(0.999),
            Self::Max | Self::SeenP99 | Self::Rate | Self::ErrorRate => None,
        }
    }

    /// Without its unit.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Max => "the longest latency",
            Self::SeenP99 => "p99 until seen",
            Self::Rate => "answers a second",
            Self::ErrorRate => "error rate",
        }
    }

    fn is_of_latency(self) -> bool {
        !matches!(self, Self::Rate | Self::ErrorRate)
    }

    pub(crate) fn unit(self) -> &'static str {
        if self.is_of_latency() { "ms" } else { "" }
    }

    /// Whether more of it is better.
    pub(crate) fn is_rate(self) -> bool {
        self == Self::Rate
    }

    pub(crate) fn limit(self) -> Limit {
        if self.is_rate() { Limit::Lower } else { Limit::Upper }
    }

    pub(crate) fn keeps(self, measured: f64, bound: f64) -> bool {
        match self.limit() {
            Limit::Lower => measured >= bound,
            Limit::Upper => measured <= bound,
        }
    }
}

impl Gate {
    /// None if it bounds something else.
    pub(crate) fn latency_bound_ms(&self) -> Option<f64> {
        match self.bound {
            Bound::Number(bound) if self.figure.quantile().is_some() || self.figure == Figure::Max => Some(bound),
            _ => None,
        }
    }

    /// Why a percentile is not what it seems.
    fn note(&self, measured: &Measured) -> Option<String> {
        let series = measured.of(self.part.step, self.part.selection);
        let (quantile, requests) = match self.figure {
            Figure::SeenP99 => (0.99, series.pairs()),
            figure => (figure.quantile()?, series.requests()),
        };
        #[expect(clippy::cast_precision_loss, reason = "many requests need no note")]
        let slower = (1.0 - quantile) * requests as f64;
        (requests > 0 && slower < 1.0 - 1e-9).then(|| format!("of {requests} requests this is the slowest"))
    }

    pub(crate) fn measure(&self, measured: &Measured, lasted: impl Fn(Option<usize>) -> Duration) -> Option<f64> {
        let Part { selection, step } = self.part;
        self.figure.of(&measured.of(step, selection), lasted(step))
    }
}

/// Judges the gates with a number as their bound. `lasted` tells how long a step, or all of them, took.
pub(crate) fn judge(gates: &Gates, measured: &Measured, lasted: impl Fn(Option<usize>) -> Duration) -> Vec<Judged> {
    let judge = |gate: &Gate| {
        let Bound::Number(bound) = gate.bound else { return None };
        Some(judge_one(gate, bound, measured, &lasted))
    };
    gates.all.iter().filter_map(judge).collect()
}

/// Judges those gates that are not for a certain step for this one.
pub(crate) fn judge_step(gates: &Gates, measured: &Measured, step: usize, lasted: Duration) -> Vec<Judged> {
    let of_the_step = |gate: &Gate| {
        let (Bound::Number(bound), None) = (gate.bound, gate.part.step) else { return None };
        let of_the_step = Gate { part: Part { step: Some(step), ..gate.part }, ..*gate };
        Some(Judged { gate: gate.to_string(), ..judge_one(&of_the_step, bound, measured, |_| lasted) })
    };
    gates.all.iter().filter_map(of_the_step).collect()
}

pub(crate) fn judge_one(
    gate: &Gate,
    bound: f64,
    measured: &Measured,
    lasted: impl Fn(Option<usize>) -> Duration,
) -> Judged {
    let note = gate.note(measured);
    let measured = gate.measure(measured, lasted);
    let met = measured.is_some_and(|measured| gate.figure.keeps(measured, bound));
    let proof = if gate.figure.is_of_latency() { Proof::Latency } else { Proof::Itself };
    let unit = gate.figure.unit();
    Judged { unit, note, proof, ..Judged::new(gate.to_string(), gate.figure.limit(), bound, measured, met) }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.bound {
            Bound::Number(_) => "",
            Bound::Ratio(_) => "ratio of ",
        };
        write!(f, "{of}{} of {}", self.figure, self.part)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            None => self.selection.fmt(f),
            Some(step) if self.selection == Selection::default() => write!(f, "step {}", step + 1),
            Some(step) => write!(f, "{} of step {}", self.selection, step + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::judge;
    use crate::{
        measured::{Measured, latencies::Precision, series::Outcome},
        settings::Args,
        workload::kind::Kind,
    };

    #[test]
    fn a_gate_is_met_or_missed_by_what_it_selects_and_missed_if_there_was_no_such_request() {
        let second = Duration::from_secs(1);
        let mut measured = Measured::new(Precision::Fine);
        for step in 0..9 {
            let latency = Duration::from_millis(if step == 0 { 10 } else { 20 });
            measured.record(usize::from(step > 0), Kind::ALL[0], Outcome::Answered, latency, Duration::ZERO);
        }
        measured.record(1, Kind::ALL[2], Outcome::Refused, Duration::from_millis(1), Duration::ZERO);
        let table = [
            ("--max-p99-ms=post=21", true),
            ("--max-p99-ms=post=19", false),
            ("--max-p99-ms=batch=1", false),
            ("--max-p50-ms=@1=11", true),
            ("--max-p50-ms=@2=11", false),
            ("--max-ms=@3=11", false),
            ("--max-ms=post@2=21", true),
            ("--min-rps=9", true),
            ("--min-rps=@1=2", false),
            ("--min-rps=get=1", false),
            ("--max-error-rate=0.1", true),
            ("--max-error-rate=get=0.99", false),
            ("--max-error-rate=post=0", true),
            ("--max-seen-p99-ms=1", false),
        ];
        for (gate, met) in table {
            let gates = Args::parse_from(["loadtest", gate]).into_settings().judging.gates;
            assert_eq!(judge(&gates, &measured, |_| second)[0].met, met, "{gate}");
        }
    }
}
