//! A line plot over time as SVG, readable on light and dark grounds.

use std::fmt;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 340.0;
/// Room for the numbers on the left, the title above, the seconds below and the legend on the right.
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 80.0;
const BOTTOM: f64 = 45.0;
/// Okabe and Ito's palette, which colour-blind readers can tell apart.
const COLOURS: [&str; 3] = ["#0072b2", "#e69f00", "#d55e00"];
const TICKS: u32 = 5;

pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) step_seconds: u64,
    /// With equally many values.
    pub(super) series: Vec<Series>,
}

pub(super) struct Series {
    pub(super) name: &'static str,
    /// One for each step of time; none makes a gap in the line.
    pub(super) values: Vec<Option<f64>>,
}

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let highest = self.series.iter().flat_map(|series| &series.values).flatten().copied().fold(0.0, f64::max);
        let top = round_up(highest);
        let steps = self.series.first().map_or(0, |series| series.values.len());
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let y = |value: f64| bottom - value / top * (bottom - TOP);
        let x = |step: usize| LEFT + (right - LEFT) * fraction(step, steps.saturating_sub(1).max(1));

        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n\
             <style>text {{ font: 13px sans-serif; fill: #555 }} .title {{ font-size: 16px }} .grid {{ stroke: #999; stroke-opacity: .35 }}\n\
             @media (prefers-color-scheme: dark) {{ text {{ fill: #bbb }} }}</style>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"24\">{}</text>",
            self.title, self.title
        )?;
        for tick in 0..=TICKS {
            let value = top * f64::from(tick) / f64::from(TICKS);
            let height = y(value);
            writeln!(f, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{height:.1}\" y2=\"{height:.1}\"/>")?;
            let baseline = height + 4.0;
            writeln!(f, "<text x=\"{}\" y=\"{baseline:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, label(value))?;
        }
        let mut ticks: Vec<usize> =
            (0..=TICKS as usize).map(|tick| steps.saturating_sub(1) * tick / TICKS as usize).collect();
        ticks.dedup();
        for step in ticks {
            let seconds = step as u64 * self.step_seconds;
            writeln!(
                f,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{seconds} s</text>",
                x(step),
                bottom + 22.0
            )?;
        }
        for (place, (series, colour)) in self.series.iter().zip(COLOURS).enumerate() {
            let points: Vec<Option<String>> = (0..)
                .zip(&series.values)
                .map(|(step, value)| value.map(|value| format!("{:.1},{:.1}", x(step), y(value))))
                .collect();
            for line in points.split(Option::is_none).filter(|line| !line.is_empty()) {
                let mut line: Vec<&str> = line.iter().flatten().map(String::as_str).collect();
                // A line from a point to itself is drawn as a dot; a line of a single point is not drawn.
                line.extend((line.len() == 1).then_some(line[0]));
                let line = line.join(" ");
                writeln!(
                    f,
                    "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linecap=\"round\" points=\"{line}\"/>"
                )?;
            }
            let height = TOP + 16.0 * fraction(place, 1);
            writeln!(
                f,
                "<line x1=\"{}\" x2=\"{}\" y1=\"{height}\" y2=\"{height}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                right + 8.0,
                right + 24.0,
                right + 28.0,
                height + 4.0,
                series.name
            )?;
        }
        writeln!(f, "</svg>")
    }
}

/// The next of 1, 2 or 5 times a power of ten, so that the ticks are numbers that people read easily.
fn round_up(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|&top| top >= highest).unwrap_or(highest)
}

fn label(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0}k", value / 1_000.0)
    } else if value >= 10.0 || value == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[expect(clippy::cast_precision_loss, reason = "places on a drawing are few")]
fn fraction(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::{Plot, Series, round_up};

    #[test]
    fn the_scale_ends_at_a_round_number() {
        for (highest, top) in
            [(0.0, 1.0), (0.7, 1.0), (1.1, 2.0), (2.1, 5.0), (47_000.0, 50_000.0), (50_001.0, 100_000.0)]
        {
            assert!((round_up(highest) - top).abs() < 1e-6 * top, "{highest}");
        }
    }

    #[test]
    fn a_plot_draws_every_line_with_its_name_and_scales() {
        let plot = Plot {
            title: "Latency in milliseconds",
            step_seconds: 2,
            series: vec![
                Series { name: "p50", values: vec![Some(1.0), Some(2.0), Some(1.5)] },
                Series { name: "p99", values: vec![Some(4.0), Some(9.0), Some(3.0)] },
            ],
        };
        insta::assert_snapshot!(plot.to_string());
    }

    #[test]
    fn a_run_of_one_step_or_none_is_drawn_too() {
        for (values, lines) in [(vec![], 0), (vec![Some(3.0)], 1)] {
            let plot = Plot { title: "t", step_seconds: 1, series: vec![Series { name: "n", values }] };
            assert!(!plot.to_string().contains("NaN"));
            assert_eq!(plot.to_string().matches("<polyline").count(), lines);
        }
    }

    #[test]
    fn a_line_has_gaps_where_there_is_nothing_to_draw() {
        let values = vec![Some(1.0), Some(1.0), None, None, Some(2.0), None];
        let plot = Plot { title: "t", step_seconds: 1, series: vec![Series { name: "n", values }] }.to_string();
        let points: Vec<&str> = plot.split("points=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(points, ["70.0,167.5 212.0,167.5", "638.0,40.0 638.0,40.0"]);
    }
}
