//! Which pictures there are of a run, each with the file that it is written to.

use std::time::Duration;

use super::charts::{
    by_percentile::ByPercentile,
    capacity,
    comparison::{self, Row},
    heat_map::HeatMap,
    over_time::{Line, OverTime, Unit},
};
use crate::{
    checks::{
        comparison::{Comparison, OF_KINDS, Spread},
        gates::{Bound, Figure, Gates, Part},
    },
    measured::{
        Measured,
        series::{Series, Summary},
    },
    run::Capacity,
    workload::kind::{Kind, Selection},
};

const THROUGHPUT: &str = "throughput.svg";
const LATENCY: &str = "latency.svg";
const PERCENTILES: &str = "percentiles.svg";
const HEAT_MAP: &str = "heat-map.svg";
pub(super) const CAPACITY: &str = "capacity.svg";
pub(super) const COMPARISON: &str = "comparison.svg";

/// Those of every run.
pub(super) const ALWAYS: [&str; 4] = [THROUGHPUT, LATENCY, PERCENTILES, HEAT_MAP];
/// Those of some runs.
pub(super) const SOMETIMES: [&str; 2] = [CAPACITY, COMPARISON];

/// `lasted` is how long requests were made.
pub(super) fn of(measured: &Measured, lasted: Duration) -> [(&'static str, String); ALWAYS.len()] {
    let rate: FigureOf = |span| Some(span.answered_per_second);
    let percentiles: [(&str, FigureOf); 3] = [
        ("p50", |span| latency(span, span.p50_ms)),
        ("p90", |span| latency(span, span.p90_ms)),
        ("p99", |span| latency(span, span.p99_ms)),
    ];
    [
        (THROUGHPUT, over_time(measured, lasted, "Requests answered a second", Unit::Number, &[("answered", rate)])),
        (LATENCY, over_time(measured, lasted, "Latency over time", Unit::Millis, &percentiles)),
        (PERCENTILES, by_percentile_of(measured)),
        (HEAT_MAP, heat_map_of(measured)),
    ]
}

pub(super) fn of_capacity(capacity: &Capacity, gates: &Gates) -> (&'static str, String) {
    let steps = capacity.tried.iter().map(|tried| capacity::Step {
        rate: tried.rate.into(),
        p50_ms: latency(&tried.summary, tried.summary.p50_ms),
        p99_ms: latency(&tried.summary, tried.summary.p99_ms),
        errors: tried.error_rate,
        held: tried.missed.is_none(),
    });
    let found = capacity.rate.map(|held| capacity::Found { held: held.into(), failed: capacity.failed.map(f64::from) });
    let picture = capacity::Capacity {
        steps: steps.collect(),
        found,
        p50_bound_ms: gates.number(Figure::P50),
        p99_bound_ms: gates.number(Figure::P99),
    };
    (CAPACITY, picture.draw())
}

/// Those figures that are of all requests, and those that have a bound.
pub(super) fn of_comparison(comparison: &Comparison, gates: &Gates) -> (&'static str, String) {
    let rows = comparison.figures.iter().filter_map(|compared| {
        let part = Part { selection: compared.requests, step: None };
        let bound = gates.all.iter().find_map(|gate| match gate.bound {
            Bound::Ratio(bound) if (gate.figure, gate.part) == (compared.figure, part) => Some(bound),
            _ => None,
        });
        let is_rate = compared.figure.is_rate();
        // What few requests decide differs so much that beside it nothing else could be seen.
        let is_of_all = part == Part::default();
        (bound.is_some() || (is_of_all && OF_KINDS.contains(&compared.figure))).then(|| Row {
            name: if is_of_all {
                compared.figure.name().to_owned()
            } else {
                format!("{} of {}", compared.figure.name(), compared.requests)
            },
            ratios: compared.ratio.each.clone(),
            median: compared.ratio.median,
            interval: (compared.ratio.low, compared.ratio.high),
            bound: bound.map(if is_rate { comparison::Bound::AtLeast } else { comparison::Bound::AtMost }),
            met: bound.is_none_or(|bound| compared.may_keep(bound)),
        })
    });
    let each = match comparison.spread {
        Spread::Confidence => "two rounds",
        Spread::Extremes => "an earlier run",
    };
    (COMPARISON, comparison::Comparison { each, rows: rows.collect() }.draw())
}

type FigureOf = fn(&Summary) -> Option<f64>;

fn over_time(measured: &Measured, lasted: Duration, title: &str, unit: Unit, figures: &[(&str, FigureOf)]) -> String {
    let spans = measured.over_time.summaries();
    let whole = &spans[..measured.over_time.whole_spans(lasted)];
    let lines = figures.iter().map(|(name, of)| Line { name, values: whole.iter().map(of).collect() });
    OverTime { title, unit, step: measured.over_time.span(), lines: lines.collect() }.draw()
}

/// Without an answer there is no latency, rather than a short one.
fn latency(span: &Summary, latency: f64) -> Option<f64> {
    (span.answered() > 0).then_some(latency)
}

fn by_percentile_of(measured: &Measured) -> String {
    let all = measured.of(None, Selection::default());
    let kinds: Vec<(String, Series)> =
        Kind::ALL.into_iter().map(|kind| (kind.to_string(), measured.of(None, kind.into()))).collect();
    let kinds = kinds.iter().map(|(name, series)| (name.as_str(), series.latencies.histogram())).collect();
    ByPercentile { all: all.latencies.histogram(), kinds }.draw()
}

fn heat_map_of(measured: &Measured) -> String {
    let spans = &measured.over_time.spans;
    let latencies = spans.iter().map(|span| span.latencies.histogram()).collect();
    HeatMap { step: measured.over_time.span(), latencies }.draw()
}
