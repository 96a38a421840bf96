//! The figures as a drawing, readable on a light and on a dark page: requests each second by connections, and the
//! time of a GET by the events in its hour.

use std::fmt::Write as _;

use crate::{
    measure::{Axis, Contender, Measurement},
    numbers::{figure, grouped},
    plan::Part,
};

const CONTENDERS: [Contender; 3] = [Contender::Ceiling, Contender::Textbook, Contender::Daemon];

const PANEL_WIDTH: f64 = 260.0;
const PANEL_HEIGHT: f64 = 200.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 80.0;
const GAP: f64 = 70.0;

const SUPERSCRIPTS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

const STYLE: &str = "text { font: 12px sans-serif; fill: #1f2328 } .title { font-weight: bold } .axis { stroke: #888 } \
     @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }";

/// Draws what a run measured of the three contenders.
pub(crate) fn svg(all: &[Measurement]) -> String {
    let (width, height) = (LEFT + 3.0 * (PANEL_WIDTH + GAP), TOP + PANEL_HEIGHT + 60.0);
    let mut drawing = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>Requests each second by connections, and the time of a GET by the events in its hour</title>\n<style>{STYLE}</style>\n"
    );
    for (index, contender) in (0_u32..).zip(CONTENDERS) {
        let x = LEFT + 200.0 * f64::from(index);
        let colour = colour(contender);
        let _ = writeln!(drawing, "<rect x=\"{x}\" y=\"12\" width=\"12\" height=\"12\" fill=\"{colour}\"/>");
        drawing += &text(x + 18.0, 22.0, "start", &contender.to_string());
    }
    drawing += &bars(panel(0), "POST, requests/s by connections", &of(all, Part::Writes, "POST", Axis::Connections));
    drawing += &bars(panel(1), "GET, requests/s by connections", &of(all, Part::Reads, "GET", Axis::Connections));
    drawing += &lines(panel(2), "GET, p50 in ms by events in the hour", &of(all, Part::Growth, "GET", Axis::Events));
    drawing + "</svg>\n"
}

/// The left edge of a panel.
fn panel(number: u32) -> f64 {
    LEFT + f64::from(number) * (PANEL_WIDTH + GAP)
}

fn of<'a>(all: &'a [Measurement], part: Part, question: &str, axis: Axis) -> Vec<&'a Measurement> {
    let asked = |measurement: &&Measurement| {
        let subject = &measurement.subject;
        (subject.part, subject.axis) == (part, axis)
            && subject.question == question
            && CONTENDERS.contains(&measurement.contender)
    };
    all.iter().filter(asked).collect()
}

fn colour(contender: Contender) -> &'static str {
    match contender {
        Contender::Ceiling => "#8b949e",
        Contender::Textbook => "#d97706",
        _ => "#2f81f7",
    }
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n")
}

/// The title of a panel, and its two axes.
fn frame(left: f64, title: &str) -> String {
    let (bottom, right) = (TOP + PANEL_HEIGHT, left + PANEL_WIDTH);
    let title = format!("<text class=\"title\" x=\"{left}\" y=\"{}\">{title}</text>\n", TOP - 24.0);
    title + &format!("<path class=\"axis\" fill=\"none\" d=\"M{left} {TOP}V{bottom}H{right}\"/>\n")
}

fn sizes(measurements: &[&Measurement]) -> Vec<u64> {
    let mut sizes: Vec<u64> = measurements.iter().map(|measurement| measurement.subject.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Rates, a group of bars for each size.
fn bars(left: f64, title: &str, measurements: &[&Measurement]) -> String {
    let mut drawing = frame(left, title);
    let sizes = sizes(measurements);
    let Some(highest) = measurements.iter().filter_map(|measurement| measurement.rate()).reduce(f64::max) else {
        return drawing;
    };
    let group = PANEL_WIDTH / places(sizes.len());
    let bar = group / 4.0;
    for (place, &size) in sizes.iter().enumerate() {
        let start = left + places(place) * group;
        drawing += &text(start + group / 2.0, TOP + PANEL_HEIGHT + 18.0, "middle", &grouped(size));
        for measurement in measurements.iter().filter(|measurement| measurement.subject.size == size) {
            let Some(rate) = measurement.rate() else { continue };
            let number =
                CONTENDERS.iter().position(|&contender| contender == measurement.contender).unwrap_or_default();
            let (x, height) = (start + bar * (0.5 + places(number)), PANEL_HEIGHT * rate / highest);
            let (y, colour) = (TOP + PANEL_HEIGHT - height, colour(measurement.contender));
            let _ = writeln!(
                drawing,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>",
                bar - 2.0
            );
            drawing += &text(x + bar / 2.0, y - 4.0, "middle", &format!("{:.0}k", rate / 1e3));
        }
    }
    drawing
}

/// Times, both scales logarithmic, a line for each contender.
fn lines(left: f64, title: &str, measurements: &[&Measurement]) -> String {
    let mut drawing = frame(left, title);
    let p50 = |measurement: &Measurement| measurement.latency(|latency| latency.p50_ms);
    let times: Vec<f64> = measurements.iter().filter_map(|measurement| p50(measurement)).collect();
    let (Some(shortest), Some(longest)) =
        (times.iter().copied().reduce(f64::min), times.iter().copied().reduce(f64::max))
    else {
        return drawing;
    };
    let (lowest, highest) = (shortest.log10().floor(), longest.log10().ceil().max(shortest.log10().floor() + 1.0));
    let y = |time: f64| TOP + PANEL_HEIGHT * (highest - time.log10()) / (highest - lowest);
    let sizes = sizes(measurements);
    let step = PANEL_WIDTH / places(sizes.len());
    let x = |size: u64| left + (places(sizes.iter().position(|&other| other == size).unwrap_or_default()) + 0.5) * step;

    for &size in &sizes {
        let power = size.checked_ilog10().filter(|&power| 10_u64.pow(power) == size);
        let label = power.map_or_else(|| grouped(size), |power| format!("10{}", SUPERSCRIPTS[power as usize % 10]));
        drawing += &text(x(size), TOP + PANEL_HEIGHT + 18.0, "middle", &label);
    }
    for bound in [lowest, highest] {
        drawing += &text(left - 6.0, y(10_f64.powf(bound)) + 4.0, "end", &figure(10_f64.powf(bound)));
    }
    for contender in CONTENDERS {
        let own = measurements.iter().filter(|measurement| measurement.contender == contender);
        let points: Vec<(f64, f64, f64)> = own
            .filter_map(|measurement| p50(measurement).map(|time| (x(measurement.subject.size), y(time), time)))
            .collect();
        let path: Vec<String> = points.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}")).collect();
        let colour = colour(contender);
        let _ = writeln!(
            drawing,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            path.join(" ")
        );
        for (x, y, time) in points {
            let _ = writeln!(drawing, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            drawing += &text(x, y - 8.0, "middle", &figure(time));
        }
    }
    drawing
}

fn places(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::svg;
    use crate::{
        measure::{Axis, Contender, Latency, Measurement, Sample, Subject},
        plan::Part,
    };

    #[test]
    fn every_figure_of_the_three_contenders_is_drawn() {
        let measurement = |part, question, axis, size, contender| {
            let latency = Some(Latency { p50_ms: 0.5, p99_ms: 1.0, p999_ms: 2.0 });
            let sample = Sample { count: 1, per_second: 41_234.0, latency, cpu: None };
            let subject = Subject::new(part, question, axis, size);
            Measurement { subject, contender, connections: 64, rounds: vec![sample] }
        };
        let drawing = svg(&[
            measurement(Part::Writes, "POST", Axis::Connections, 64, Contender::Textbook),
            measurement(Part::Reads, "GET", Axis::Connections, 256, Contender::Daemon),
            measurement(Part::Growth, "GET", Axis::Events, 10_000_000, Contender::Daemon),
        ]);
        assert_eq!(drawing.matches(">41k</text>").count(), 2);
        assert_eq!(drawing.matches(">0.50</text>").count(), 1);
        assert_eq!(drawing.matches(">10⁷</text>").count(), 1);
        assert!(svg(&[]).ends_with("</svg>\n"));
    }
}
