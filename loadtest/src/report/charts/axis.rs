//! Scales, with ticks at numbers that people read easily.

use std::iter::successors;

use super::label;

const MOST_TICKS: f64 = 6.0;
/// Seconds between ticks.
const TIMES: [u32; 16] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 21_600];
/// Each takes as much room as the one before, since each has a tenth of the requests above it.
const PERCENTILES: [&str; 6] = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
/// Of a comparison: what is faster or slower by more is at the edge.
const WIDEST_RATIO: f64 = 1_000.0;

#[derive(Debug)]
pub(super) struct Axis {
    is_log: bool,
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to the highest of these.
    pub(super) fn linear(values: impl IntoIterator<Item = f64>, label: fn(f64) -> String) -> Self {
        let highest = values.into_iter().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let step = if highest > 0.0 { round_up(highest / (MOST_TICKS - 1.0)) } else { 1.0 };
        let steps = (highest / step - 1e-9).ceil().max(1.0);
        let ticks = up_to(steps).map(|tick| (tick * step, label(tick * step))).collect();
        Self { is_log: false, from: 0.0, to: steps * step, ticks }
    }

    /// From the lowest of these that is above zero to the highest.
    pub(super) fn log(values: impl IntoIterator<Item = f64>, label: fn(f64) -> String) -> Self {
        let values = values.into_iter().filter(|value| value.is_finite() && *value > 0.0);
        let (lowest, highest) = values.fold((f64::MAX, 0.0), |(low, high), value| (value.min(low), value.max(high)));
        let (lowest, highest) = if highest > 0.0 { (lowest, highest) } else { (1.0, 10.0) };
        let from = round_down(lowest);
        let to = round_up(highest.max(from * 1.5));
        let ticks = round_numbers(from, to).map(|value| (value, label(value))).collect();
        Self { is_log: true, from, to, ticks }
    }

    /// The time since a run began.
    pub(super) fn seconds(longest: f64) -> Self {
        let step = TIMES.into_iter().map(f64::from).find(|step| longest / step <= MOST_TICKS);
        let step = step.unwrap_or(longest / MOST_TICKS);
        let (unit, name) = match step {
            ..60.0 => (1.0, "s"),
            ..3_600.0 => (60.0, "min"),
            _ => (3_600.0, "h"),
        };
        let ticks = up_to((longest / step).floor())
            .map(|tick| (tick * step, format!("{} {name}", label::number(tick * step / unit))))
            .collect();
        Self { is_log: false, from: 0.0, to: longest, ticks }
    }

    /// Percentiles as hdrhistogram's plotter draws them. A value is how many requests there are for each that is
    /// slower: 1 for 0 %, 10 for 90 %, 100 for 99 %.
    pub(super) fn percentiles(highest: f64) -> Self {
        let nines = highest.log10().ceil().clamp(1.0, label::float(PERCENTILES.len() - 1));
        let ticks = up_to(nines).zip(PERCENTILES).map(|(nines, name)| (10_f64.powf(nines), name.to_owned())).collect();
        Self { is_log: true, from: 1.0, to: 10_f64.powf(nines), ticks }
    }

    /// Ratios of new to old, with 1 in the middle.
    pub(super) fn ratios(values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter().filter(|value| value.is_finite() && *value > 0.0);
        let widest = values.map(|value| value.max(1.0 / value)).fold(1.05, f64::max).min(WIDEST_RATIO);
        let to = widest * 1.02;
        let from = 1.0 / to;
        let ticks: Vec<f64> = if widest <= 2.5 {
            let step = round_up((widest - 1.0) / 3.0);
            up_to(6.0).map(|tick| 1.0 + (tick - 3.0) * step).collect()
        } else {
            round_numbers(from, to).collect()
        };
        let ticks = ticks.into_iter().filter(|tick| (from..=to).contains(tick));
        Self { is_log: true, from, to, ticks: ticks.map(|tick| (tick, label::number(tick))).collect() }
    }

    /// Rows that have their names beside them instead of ticks.
    pub(super) fn rows(rows: usize) -> Self {
        Self { is_log: false, from: 0.0, to: label::float(rows.max(1)), ticks: Vec::new() }
    }

    pub(super) fn ends(&self) -> (f64, f64) {
        (self.from, self.to)
    }

    /// Where a value is: 0 at the begin of the axis, 1 at its end, and never beyond.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(f64::MIN_POSITIVE) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }

    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, &str)> {
        self.ticks.iter().map(|(value, label)| (self.place(*value), label.as_str()))
    }
}

/// 0, 1, 2 and so on.
fn up_to(last: f64) -> impl Iterator<Item = f64> {
    successors(Some(0.0), |number| Some(number + 1.0)).take_while(move |number| *number <= last + 0.5)
}

/// 1, 2 and 5 times the powers of ten; over many powers, these alone.
fn round_numbers(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let factors: &[f64] = if (to / from).log10() <= 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let first = from.log10().floor();
    up_to(to.log10().ceil() - first)
        .flat_map(move |power| factors.iter().map(move |factor| factor * 10_f64.powf(first + power)))
        .filter(move |value| (from * 0.999..=to * 1.001).contains(value))
}

/// The next of 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|&round| round >= value * 0.999_999)
        .unwrap_or(10.0 * power)
}

fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [5.0, 2.0].map(|factor| factor * power).into_iter().find(|&round| round <= value * 1.000_001).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::Axis;
    use crate::report::charts::label;

    fn ticks(axis: &Axis) -> String {
        axis.ticks().map(|(_, label)| label).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn ticks_are_numbers_that_people_read_easily() {
        let linear = |highest| ticks(&Axis::linear([highest], label::number));
        assert_eq!(linear(0.0), "0, 1");
        assert_eq!(linear(0.7), "0, 0.2, 0.4, 0.6, 0.8");
        assert_eq!(linear(47_000.0), "0, 10k, 20k, 30k, 40k, 50k");
        assert_eq!(linear(50_001.0), "0, 20k, 40k, 60k");
        let log = |values: &[f64]| ticks(&Axis::log(values.iter().copied(), label::millis));
        assert_eq!(log(&[]), "1 ms, 2 ms, 5 ms, 10 ms");
        assert_eq!(log(&[3.0]), "2 ms, 5 ms");
        assert_eq!(log(&[0.3, 9.0]), "200 µs, 500 µs, 1 ms, 2 ms, 5 ms, 10 ms");
        assert_eq!(log(&[0.001, 90_000.0]), "1 µs, 10 µs, 100 µs, 1 ms, 10 ms, 100 ms, 1 s, 10 s, 100 s");
        let seconds = |longest| ticks(&Axis::seconds(longest));
        assert_eq!(seconds(1.0), "0 s, 1 s");
        assert_eq!(seconds(20.0), "0 s, 5 s, 10 s, 15 s, 20 s");
        assert_eq!(seconds(1_500.0), "0 min, 5 min, 10 min, 15 min, 20 min, 25 min");
        assert_eq!(seconds(86_400.0), "0 h, 4 h, 8 h, 12 h, 16 h, 20 h, 24 h");
        let percentiles = |requests| ticks(&Axis::percentiles(requests));
        assert_eq!(percentiles(1.0), "0 %, 90 %");
        assert_eq!(percentiles(1_000.0), "0 %, 90 %, 99 %, 99.9 %");
        assert_eq!(percentiles(1e12), "0 %, 90 %, 99 %, 99.9 %, 99.99 %, 99.999 %");
        let ratios = |widest| ticks(&Axis::ratios([widest]));
        assert_eq!(ratios(1.0), "0.94, 0.96, 0.98, 1, 1.02, 1.04, 1.06");
        assert_eq!(ratios(0.8), "0.8, 0.9, 1, 1.1, 1.2");
        assert_eq!(ratios(2.0), "0.5, 1, 1.5, 2");
        assert_eq!(ratios(7.0), "0.2, 0.5, 1, 2, 5");
        assert_eq!(ratios(f64::MAX), "0.001, 0.01, 0.1, 1, 10, 100, 1000");
    }

    #[test]
    fn no_value_is_off_its_axis() {
        let values = [f64::NAN, f64::INFINITY, 0.0, -1.0, 5.0, 1e300];
        for axis in [Axis::linear(values, label::number), Axis::log(values, label::number), Axis::ratios(values)] {
            for value in values.into_iter().filter(|value| !value.is_nan()) {
                assert!((0.0..=1.0).contains(&axis.place(value)), "{value} on {axis:?}");
            }
        }
    }
}
