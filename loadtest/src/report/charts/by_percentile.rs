use hdrhistogram::Histogram;

use super::{
    axis::Axis,
    frame::{Look, Picture, Sign, line},
    label::{self, of_count},
};

/// So many points between 0 % and 50 %, between 50 % and 75 %, and so on.
const POINTS: u32 = 6;
/// At 99.999 %, where the axis ends.
const MOST: f64 = 1e5;

/// Latency by percentile. Histograms are in microseconds.
pub(crate) struct ByPercentile<'a> {
    pub(crate) all: &'a Histogram<u64>,
    pub(crate) kinds: Vec<(&'a str, &'a Histogram<u64>)>,
}

struct Curve<'a> {
    look: Look,
    name: &'a str,
    points: Vec<(f64, f64)>,
}

impl ByPercentile<'_> {
    pub(crate) fn draw(&self) -> String {
        let kinds = self.kinds.iter().enumerate().map(|(place, &(name, latency))| (line(place), name, latency));
        let all = ((Sign::Line, "s0"), "all", self.all);
        let curves = kinds.chain([all]).filter(|(_, _, latency)| !latency.is_empty());
        let curves: Vec<Curve<'_>> =
            curves.map(|(look, name, latency)| Curve { look, name, points: points(latency) }).collect();
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let x = Axis::percentiles(points().map(|(x, _)| *x).fold(1.0, f64::max));
        let y = Axis::log(points().map(|(_, y)| *y), label::millis);
        let mut picture = Picture::new("Latency by percentile");
        picture.legend(curves.iter().map(|curve| (curve.look, curve.name)));
        let panel = picture.panel(280.0, (&x, "share of requests that were at least as fast"), (&y, ""));
        for Curve { look, points, .. } in &curves {
            picture.line(*look, &panel, points.iter().copied().map(Some));
            // Where the curve ends before the axis does, it ends with the slowest request.
            if let Some(&slowest) = points.last().filter(|(x, _)| *x < MOST) {
                picture.point((Sign::Dot, look.1), &panel, slowest);
            }
        }
        picture.finish()
    }
}

/// How many requests there are for each that is slower, and milliseconds. The last point is the slowest request.
fn points(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    let requests = of_count(latency.len());
    let millis = |micros| of_count(micros) / 1e3;
    let steps = latency.iter_quantiles(POINTS).map(|step| {
        let slower = (1.0 - step.quantile_iterated_to()).max(1.0 / requests);
        (1.0 / slower, millis(step.value_iterated_to()))
    });
    let mut points: Vec<(f64, f64)> = steps.take_while(|(x, _)| *x < MOST).collect();
    if requests >= MOST {
        points.push((MOST, millis(latency.value_at_quantile(1.0 - 1.0 / MOST))));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::{ByPercentile, points};
    use crate::report::charts::tests::{body, histogram};

    #[test]
    fn each_kind_and_all_have_a_curve_to_the_slowest_request() {
        let (fast, slow) = (histogram([(100, 900), (250, 90)]), histogram([(2_000, 9), (80_000, 1)]));
        let mut all = fast.clone();
        all.add(&slow).unwrap();
        let none = histogram([]);
        let kinds = vec![("GET current", &fast), ("POST current", &slow), ("POST past", &none)];
        insta::assert_snapshot!(body(&ByPercentile { all: &all, kinds }.draw()));
    }

    #[test]
    fn a_curve_ends_at_the_share_that_its_requests_can_tell() {
        let last = |requests: u64| points(&histogram([(1_000, requests - 1), (5_000, 1)])).pop().unwrap();
        let slowest = last(100);
        assert!((slowest.0 - 100.0).abs() < 1e-6 && (slowest.1 - 5.0).abs() < 0.01, "{slowest:?}");
        let of_many = last(1_000_000);
        assert!((of_many.0 - 1e5).abs() < 1e-6 && (of_many.1 - 1.0).abs() < 0.01, "{of_many:?}");
    }
}
