//! Which pictures there are of a run, each with the file that it is written to.

use super::charts::{
    by_percentile::ByPercentile,
    heat_map::HeatMap,
    over_time::{Line, OverTime, Unit},
};
use crate::{
    measured::{
        Measured,
        series::{Series, Summary},
    },
    workload::kind::{Kind, Selection},
};

pub(super) const NAMES: [&str; 4] = ["throughput.svg", "latency.svg", "percentiles.svg", "heat-map.svg"];

pub(super) fn of(measured: &Measured) -> [(&'static str, String); NAMES.len()] {
    let [throughput, latencies, by_percentile, heat_map] = NAMES;
    let rate: Figure = |span| Some(span.answered_per_second);
    let percentiles: [(&str, Figure); 3] = [
        ("p50", |span| latency(span, span.p50_ms)),
        ("p90", |span| latency(span, span.p90_ms)),
        ("p99", |span| latency(span, span.p99_ms)),
    ];
    [
        (throughput, over_time(measured, "Requests answered a second", Unit::Number, &[("answered", rate)])),
        (latencies, over_time(measured, "Latency over time", Unit::Millis, &percentiles)),
        (by_percentile, by_percentile_of(measured)),
        (heat_map, heat_map_of(measured)),
    ]
}

type Figure = fn(&Summary) -> Option<f64>;

fn over_time(measured: &Measured, title: &str, unit: Unit, figures: &[(&str, Figure)]) -> String {
    let spans = measured.over_time.summaries();
    // The last span is shorter than the others, so its rate means nothing.
    let whole = &spans[..spans.len().saturating_sub(1).max(spans.len().min(1))];
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
