//! Pictures of usual and of odd data.

use std::time::Duration;

use hdrhistogram::Histogram;
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, LogNormal};

use super::{
    by_percentile::ByPercentile,
    capacity::{Capacity, Found, Step},
    comparison::{Bound, Comparison, Row},
    heat_map::HeatMap,
    over_time::{Line, OverTime, Unit},
};

const SECOND: Duration = Duration::from_secs(1);

/// A picture without the style, which all share.
pub(super) fn body(picture: &str) -> String {
    let (begin, rest) = picture.split_once("<style>").unwrap();
    format!("{begin}{}", rest.split_once("</style>\n").unwrap().1)
}

/// So many of each value.
pub(super) fn histogram<const N: usize>(values: [(u64, u64); N]) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    for (value, count) in values {
        histogram.record_n(value, count).unwrap();
    }
    histogram
}

#[test]
fn whatever_was_measured_is_drawn_within_its_picture() {
    for (name, picture) in [over_time(), by_percentile(), heat_map(), capacity(), comparison()].into_iter().flatten() {
        // To look at them.
        if let Ok(folder) = std::env::var("CHARTS") {
            std::fs::write(format!("{folder}/{name}.svg"), &picture).unwrap();
        }
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{name}: {picture}");
        assert!(picture.len() < 100_000, "{name} has {} bytes", picture.len());
    }
}

type Pictures = Vec<(String, String)>;

fn over_time() -> Pictures {
    let name = "long <&\" name ".repeat(5);
    let draw = |unit, step, values| {
        let lines = vec![Line { name: &name, values }, Line { name: "p99", values: Vec::new() }];
        OverTime { title: "Latency over time", unit, step, lines }.draw()
    };
    let long = (0..300).map(|step| (step % 50 > 3).then(|| f64::from(step % 37))).collect();
    let huge = vec![Some(1e-9), Some(1e15), Some(f64::INFINITY), Some(f64::NAN), Some(5.0)];
    let lines = ["p50", "p90", "p99"].into_iter().zip(1..).map(|(name, factor)| Line {
        name,
        values: (0..60).map(|step| (step % 25 > 2).then(|| f64::from(factor * (5 + step * 7 % 11)))).collect(),
    });
    let usual = OverTime { title: "Latency over time", unit: Unit::Millis, step: SECOND, lines: lines.collect() };
    vec![
        ("over-time".to_owned(), usual.draw()),
        ("over-time-nothing".to_owned(), draw(Unit::Number, SECOND, vec![])),
        ("over-time-gaps".to_owned(), draw(Unit::Number, SECOND, vec![None; 5])),
        ("over-time-one".to_owned(), draw(Unit::Millis, SECOND, vec![Some(3.0)])),
        ("over-time-zeros".to_owned(), draw(Unit::Millis, SECOND, vec![Some(0.0); 9])),
        ("over-time-huge".to_owned(), draw(Unit::Number, SECOND, huge)),
        ("over-time-long".to_owned(), draw(Unit::Number, 300 * SECOND, long)),
    ]
}

fn by_percentile() -> Pictures {
    let draw = |kinds: &[(&str, &Histogram<u64>)]| {
        let mut all = histogram([]);
        for (_, latency) in kinds {
            all.add(*latency).unwrap();
        }
        ByPercentile { all: &all, kinds: kinds.to_vec() }.draw()
    };
    let mut requests = Requests::new();
    let (get, post) = (requests.around(90_000, 400.0), requests.around(9_000, 1_500.0));
    let (one, ends) = (histogram([(7, 1)]), histogram([(1, 1), (90_000_000, 1)]));
    let kinds: Vec<_> = (1..15).map(|kind| (format!("SCRIPT past, {kind}"), requests.around(9_000, 300.0))).collect();
    let kinds: Vec<_> = kinds.iter().map(|(name, latency)| (name.as_str(), latency)).collect();
    vec![
        ("by-percentile".to_owned(), draw(&[("GET current", &get), ("POST current", &post), ("POST past", &one)])),
        ("by-percentile-nothing".to_owned(), draw(&[])),
        ("by-percentile-one".to_owned(), draw(&[("GET past", &one)])),
        ("by-percentile-ends".to_owned(), draw(&[("GET past", &ends)])),
        ("by-percentile-many".to_owned(), draw(&kinds)),
    ]
}

fn heat_map() -> Pictures {
    let draw = |latencies: Vec<&Histogram<u64>>| HeatMap { step: SECOND, latencies }.draw();
    let (none, one, ends) = (histogram([]), histogram([(7, 1)]), histogram([(1, 1), (90_000_000, 1)]));
    let mut requests = Requests::new();
    let long = (0..301).map(|span| match span {
        100..104 | 250 => none.clone(),
        200..215 => requests.around(300, 60_000.0),
        _ => requests.around(2_000, if span % 60 == 59 { 5_000.0 } else { 600.0 }),
    });
    let long: Vec<Histogram<u64>> = long.collect();
    vec![
        ("heat-map".to_owned(), draw(long.iter().collect())),
        ("heat-map-nothing".to_owned(), draw(vec![])),
        ("heat-map-gaps".to_owned(), draw(vec![&none; 3])),
        ("heat-map-one".to_owned(), draw(vec![&one])),
        ("heat-map-ends".to_owned(), draw(vec![&none, &ends])),
    ]
}

fn capacity() -> Pictures {
    let step = |rate: f64| {
        let load = rate / 5_600.0;
        let p50 = 0.4 / (1.0 - load.min(0.999));
        let (p99_ms, errors) = (Some(p50 * 4.0 + 1.0), (load - 1.0).max(0.0));
        Step { rate, p50_ms: Some(p50), p99_ms, errors, held: load < 0.95 }
    };
    let rates = [100.0, 200.0, 400.0, 800.0, 1_600.0, 3_200.0, 6_400.0, 4_800.0, 5_600.0, 5_200.0, 5_400.0];
    let unanswered = Step { rate: 9.0, p50_ms: None, p99_ms: None, errors: 1.0, held: false };
    let unknown = Step { rate: f64::NAN, p50_ms: Some(f64::NAN), p99_ms: None, errors: f64::NAN, held: true };
    let draw = |steps, found: Option<(f64, Option<f64>)>, p99_bound_ms| {
        let found = found.map(|(held, failed)| Found { held, failed });
        Capacity { steps, found, p50_bound_ms: None, p99_bound_ms }.draw()
    };
    vec![
        ("capacity".to_owned(), draw(rates.map(step).into(), Some((5_200.0, Some(5_400.0))), Some(20.0))),
        ("capacity-nothing".to_owned(), draw(vec![], None, None)),
        ("capacity-one".to_owned(), draw(vec![step(50.0)], Some((50.0, None)), Some(0.0))),
        ("capacity-unanswered".to_owned(), draw(vec![unanswered, unknown], None, None)),
    ]
}

fn comparison() -> Pictures {
    let row = |name: &str, ratios, (low, median, high), bound| {
        let met = !matches!(bound, Some(Bound::AtMost(bound)) if low > bound);
        Row { name: name.to_owned(), ratios, median, interval: (low, high), bound, met }
    };
    let rounds = |around: f64| (0..10).map(|round| around + 0.012 * f64::from(round * 7 % 5)).collect();
    let name = "a long & <odd> name of a figure that somebody gave to it".repeat(2);
    let usual = vec![
        row("p50", rounds(0.98), (0.99, 1.01, 1.02), None),
        row("p99", rounds(1.17), (1.18, 1.2, 1.21), Some(Bound::AtMost(1.1))),
        row("answered a second", vec![0.97, 1.0, 0.99], (0.97, 0.99, 1.0), Some(Bound::AtLeast(0.9))),
    ];
    let odd = vec![
        row(&name, vec![], (1.0, 1.0, 1.0), Some(Bound::AtMost(0.0))),
        row("huge", vec![0.0, f64::INFINITY, f64::NAN, 1e-30], (0.0, 1e9, f64::INFINITY), None),
    ];
    vec![
        ("comparison".to_owned(), Comparison { each: "two rounds", rows: usual }.draw()),
        ("comparison-nothing".to_owned(), Comparison { each: "two rounds", rows: vec![] }.draw()),
        ("comparison-odd".to_owned(), Comparison { each: "two rounds", rows: odd }.draw()),
    ]
}

/// The same ones each time.
struct Requests(StdRng);

impl Requests {
    fn new() -> Self {
        Self(StdRng::seed_from_u64(7))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds are positive and few")]
    fn around(&mut self, count: usize, micros: f64) -> Histogram<u64> {
        let mut latency = histogram([]);
        for micros in LogNormal::new(micros.ln(), 0.6).unwrap().sample_iter(&mut self.0).take(count) {
            latency.record(micros as u64).unwrap();
        }
        latency
    }
}
