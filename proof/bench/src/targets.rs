//! The promises for a machine of two cores, which the load generator and the database share, with fsync on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    figure::Figure,
    measure::{Axis, Contender, Measurement},
    memory::Memory,
    numbers::{figure, median},
    plan::Part,
    ratios::{Baseline, Ratio, compare, spread},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) bound: Bound,
    pub(crate) met: bool,
    /// Of the rounds, as a share of the value; 0 where there are none.
    #[serde(default)]
    pub(crate) spread: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    /// The bound that lets a share more through.
    pub(crate) fn widened(self, share: f64) -> Self {
        match self {
            Self::AtLeast(least) => Self::AtLeast(least * (1.0 - share)),
            Self::AtMost(most) => Self::AtMost(most * (1.0 + share)),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {}", figure(*least)),
            Self::AtMost(most) => write!(f, "at most {}", figure(*most)),
        }
    }
}

/// A promised ratio of rates; the size is the number of connections, or of users of stored rows.
struct Promised {
    part: Part,
    size: Option<u64>,
    contender: Contender,
    to: Contender,
    least: f64,
}

const fn promised(part: Part, size: Option<u64>, contender: Contender, to: Contender, least: f64) -> Promised {
    Promised { part, size, contender, to, least }
}

const RATIOS: &[Promised] = &[
    promised(Part::Reads, Some(64), Contender::Daemon, Contender::Ceiling, 0.65),
    promised(Part::Reads, Some(256), Contender::Daemon, Contender::Ceiling, 0.85),
    promised(Part::Writes, Some(64), Contender::Daemon, Contender::Ceiling, 0.45),
    promised(Part::Writes, Some(256), Contender::Daemon, Contender::Ceiling, 0.58),
    promised(Part::Writes, Some(64), Contender::Daemon, Contender::Textbook, 12.0),
    promised(Part::Writes, Some(256), Contender::Daemon, Contender::Textbook, 12.0),
    promised(Part::Mix, None, Contender::Daemon, Contender::Textbook, 100.0),
    promised(Part::Rows, None, Contender::Daemon, Contender::Copy, 0.60),
    promised(Part::Rows, None, Contender::ImportWithoutSource, Contender::Copy, 0.60),
    promised(Part::Rows, Some(10_000), Contender::Import, Contender::Copy, 0.85),
    promised(Part::Rows, None, Contender::Import, Contender::ImportWithoutSource, 0.90),
    promised(Part::Access, None, Contender::Guarded, Contender::Daemon, 0.95),
];

/// A promised ratio of the rate with so many shards to that with one, on one machine.
struct OfShards {
    method: &'static str,
    /// None: whatever their number is.
    connections: Option<u32>,
    shards: u64,
    least: f64,
}

const OF_SHARDS: &[OfShards] = &[
    OfShards { method: "POST", connections: Some(256), shards: 4, least: 1.0 },
    OfShards { method: "GET", connections: None, shards: 4, least: 0.60 },
    OfShards { method: "GET", connections: None, shards: 8, least: 0.40 },
];

/// Of a POST at 64 connections.
const MOST_P99_MS: f64 = 5.0;
/// Of a GET of the current hour with any number of events, relative to the fewest.
const MOST_GROWTH_OF_P50: f64 = 1.2;
/// Of a GET of a range, one at a time.
const MOST_P50_OF_RANGES_MS: f64 = 200.0;
/// At 256 connections, and with batches and imports.
const MOST_MEMORY_MIB: f64 = 64.0;

/// The promises that a run has measured, in the order of its parts.
pub(crate) fn evaluate(all: &[Measurement], memory: &[Memory], figures: &[Figure]) -> Vec<Target> {
    let mut targets: Vec<Target> = RATIOS.iter().flat_map(|promise| promise.evaluate(all)).collect();
    targets.extend(OF_SHARDS.iter().flat_map(|promise| promise.evaluate(all)));
    targets.extend(latency_of_posts(all));
    targets.extend(growth_of_gets(all));
    targets.extend(latency_of_ranges(all));
    targets.extend(figures.iter().filter_map(of_figure));
    targets.extend(peak_memory(memory));
    targets
}

/// The promises that the earlier commit of a run keeps or breaks.
pub(crate) fn evaluate_earlier(all: &[Measurement], memory: &[Memory]) -> Vec<Target> {
    let as_present = |measurement: &Measurement| {
        let contender = measurement.contender.present().unwrap_or(measurement.contender);
        (!measurement.contender.is_present()).then(|| Measurement { contender, ..measurement.clone() })
    };
    let all: Vec<Measurement> = all.iter().filter_map(as_present).collect();
    let earlier = memory.iter().filter(|memory| memory.of == Contender::Earlier);
    let memory: Vec<Memory> = earlier.map(|memory| Memory { of: Contender::Daemon, ..*memory }).collect();
    evaluate(&all, &memory, &[])
}

fn target(name: String, value: f64, bound: Bound, spread: Option<f64>) -> Target {
    Target { name, value, bound, met: bound.holds(value), spread: spread.unwrap_or_default() }
}

impl Promised {
    fn evaluate(&self, all: &[Measurement]) -> Vec<Target> {
        all.iter()
            .filter(|measurement| measurement.contender == self.contender && measurement.subject.part == self.part)
            .filter(|measurement| self.size.is_none_or(|size| measurement.subject.size == size))
            .filter_map(|measurement| {
                let ratio = compare(measurement, all, Baseline::Contender(self.to))?;
                ratio_of_at_least(ratio, self.least)
            })
            .collect()
    }
}

fn ratio_of_at_least(ratio: Ratio, least: f64) -> Option<Target> {
    let (value, spread) = (ratio.value()?, spread(&ratio.rounds));
    Some(target(ratio.name, value, Bound::AtLeast(least), spread))
}

impl OfShards {
    fn evaluate(&self, all: &[Measurement]) -> Vec<Target> {
        all.iter()
            .filter(|Measurement { subject, connections, .. }| {
                (subject.part, subject.size) == (Part::Shards, self.shards)
                    && subject.question.starts_with(self.method)
                    && self.connections.is_none_or(|promised| promised == *connections)
            })
            .filter_map(|measurement| {
                let ratio = compare(measurement, all, Baseline::Smallest)?;
                ratio_of_at_least(ratio, self.least)
            })
            .collect()
    }
}

fn latency_of_posts(all: &[Measurement]) -> Option<Target> {
    let posts = all.iter().find(|measurement| {
        let subject = &measurement.subject;
        measurement.contender == Contender::Daemon && (subject.part, subject.size) == (Part::Writes, 64)
    })?;
    let rounds: Vec<f64> = posts.rounds.iter().filter_map(|sample| Some(sample.latency?.p99_ms)).collect();
    let spread = spread(&rounds);
    Some(target(format!("{}: p99 in ms", posts.subject), median(rounds)?, Bound::AtMost(MOST_P99_MS), spread))
}

/// The slowest size relative to the smallest one.
fn growth_of_gets(all: &[Measurement]) -> Option<Target> {
    let gets: Vec<&Measurement> = all
        .iter()
        .filter(|measurement| {
            let subject = &measurement.subject;
            measurement.contender == Contender::Daemon
                && (subject.part, subject.axis) == (Part::Growth, Axis::Events)
                && subject.question == "GET"
        })
        .collect();
    let p50 = |measurement: &Measurement| measurement.latency(|latency| latency.p50_ms);
    let smallest = gets.iter().min_by_key(|measurement| measurement.subject.size)?;
    let largest = gets.iter().max_by_key(|measurement| measurement.subject.size)?;
    let slowest = gets.iter().filter_map(|measurement| p50(measurement)).reduce(f64::max)?;
    let name = format!("{}: p50 at any size up to this, to the smallest", largest.subject);
    Some(target(name, slowest / p50(smallest)?, Bound::AtMost(MOST_GROWTH_OF_P50), None))
}

fn latency_of_ranges(all: &[Measurement]) -> Vec<Target> {
    all.iter()
        .filter(|measurement| {
            let of = (measurement.contender, measurement.subject.part, measurement.connections);
            of == (Contender::Daemon, Part::Ranges, 1)
        })
        .filter_map(|measurement| {
            let p50 = measurement.latency(|latency| latency.p50_ms)?;
            let name = format!("{}: p50 in ms", measurement.subject);
            Some(target(name, p50, Bound::AtMost(MOST_P50_OF_RANGES_MS), None))
        })
        .collect()
}

fn of_figure(figure: &Figure) -> Option<Target> {
    Some(target(figure.name.clone(), figure.value()?, Bound::AtMost(figure.most?), spread(&figure.rounds)))
}

fn peak_memory(memory: &[Memory]) -> Option<Target> {
    let peak = memory.iter().filter(|memory| memory.of == Contender::Daemon).filter_map(|memory| memory.peak_mib);
    let name = "analyticsd: most memory at a time, in MiB".to_owned();
    Some(target(name, peak.reduce(f64::max)?, Bound::AtMost(MOST_MEMORY_MIB), None))
}

#[cfg(test)]
mod tests {
    use super::{Bound, evaluate, evaluate_earlier};
    use crate::{
        figure::Figure,
        measure::{Axis, Contender, Latency, Measurement, Sample, Subject},
        memory::Memory,
        plan::Part,
    };

    fn measurement(subject: Subject, contender: Contender, per_second: f64, p50_ms: f64) -> Measurement {
        let latency = Some(Latency { p50_ms, p99_ms: 10.0 * p50_ms, p999_ms: 20.0 * p50_ms });
        let sample = Sample { count: 1, per_second, latency, cpu: None };
        Measurement { subject, contender, connections: 64, rounds: vec![sample] }
    }

    #[test]
    fn promises_are_kept_or_broken_and_those_that_were_not_measured_are_neither() {
        let post = Subject::new(Part::Writes, "POST", Axis::Connections, 64);
        let get = |events| Subject::new(Part::Growth, "GET", Axis::Events, events);
        let all = [
            measurement(post.clone(), Contender::Ceiling, 100.0, 0.1),
            measurement(post.clone(), Contender::Textbook, 5.0, 9.0),
            measurement(post, Contender::Daemon, 50.0, 1.5),
            measurement(get(1_000), Contender::Daemon, 50.0, 1.0),
            measurement(get(10_000), Contender::Daemon, 50.0, 1.3),
            measurement(get(100_000), Contender::Daemon, 50.0, 1.1),
        ];
        let peak = |after, of, peak_mib| Memory { after, of, peak_mib: Some(peak_mib) };
        let memory = [
            peak(Part::Writes, Contender::Daemon, 33.0),
            peak(Part::Rows, Contender::Daemon, 64.5),
            peak(Part::Rows, Contender::Earlier, 99.0),
        ];
        let evaluated: Vec<_> = evaluate(&all, &memory, &[])
            .into_iter()
            .map(|target| (target.name, format!("{:.2}", target.value), target.bound, target.met))
            .collect();
        let expected = [
            ("POST, 64 connections: analyticsd to warp that does nothing", "0.50", Bound::AtLeast(0.45), true),
            ("POST, 64 connections: analyticsd to textbook", "10.00", Bound::AtLeast(12.0), false),
            ("POST, 64 connections: p99 in ms", "15.00", Bound::AtMost(5.0), false),
            ("GET, 100,000 events: p50 at any size up to this, to the smallest", "1.30", Bound::AtMost(1.2), false),
            ("analyticsd: most memory at a time, in MiB", "64.50", Bound::AtMost(64.0), false),
        ];
        assert_eq!(
            evaluated,
            expected.map(|(name, value, bound, met)| (name.to_owned(), value.to_owned(), bound, met))
        );
    }

    #[test]
    fn the_promises_of_an_earlier_commit_are_told_from_its_own_figures() {
        let post = Subject::new(Part::Writes, "POST", Axis::Connections, 64);
        let all = [
            measurement(post.clone(), Contender::Ceiling, 100.0, 0.1),
            measurement(post.clone(), Contender::Daemon, 50.0, 0.1),
            measurement(post, Contender::Earlier, 44.0, 0.4),
        ];
        let memory = [Contender::Daemon, Contender::Earlier].map(|of| Memory {
            after: Part::Writes,
            of,
            peak_mib: Some(if of == Contender::Earlier { 65.0 } else { 1.0 }),
        });
        let evaluated: Vec<_> = evaluate_earlier(&all, &memory)
            .into_iter()
            .map(|target| (target.name, format!("{:.2}", target.value), target.met))
            .collect();
        let expected = [
            ("POST, 64 connections: analyticsd to warp that does nothing", "0.44", false),
            ("POST, 64 connections: p99 in ms", "4.00", true),
            ("analyticsd: most memory at a time, in MiB", "65.00", false),
        ];
        assert_eq!(evaluated, expected.map(|(name, value, met)| (name.to_owned(), value.to_owned(), met)));
    }

    #[test]
    fn several_shards_are_promised_a_share_of_what_one_does() {
        let of = |question, shards, per_second, connections| {
            let subject = Subject::new(Part::Shards, question, Axis::Shards, shards);
            Measurement { connections, ..measurement(subject, Contender::Daemon, per_second, 1.0) }
        };
        let all = [
            of("POST, 64 connections", 1, 100.0, 64),
            of("POST, 64 connections", 4, 10.0, 64),
            of("POST, 256 connections", 1, 100.0, 256),
            of("POST, 256 connections", 2, 50.0, 256),
            of("POST, 256 connections", 4, 99.0, 256),
            of("GET, 256 connections", 1, 100.0, 256),
            of("GET, 256 connections", 4, 60.0, 256),
            of("GET, 256 connections", 8, 39.0, 256),
            of("batches", 4, 1.0, 8),
        ];
        let evaluated: Vec<_> =
            evaluate(&all, &[], &[]).into_iter().map(|target| (target.name, target.bound, target.met)).collect();
        let expected = [
            ("POST, 256 connections, 4 shards: analyticsd to the smallest", Bound::AtLeast(1.0), false),
            ("GET, 256 connections, 4 shards: analyticsd to the smallest", Bound::AtLeast(0.60), true),
            ("GET, 256 connections, 8 shards: analyticsd to the smallest", Bound::AtLeast(0.40), false),
        ];
        assert_eq!(evaluated, expected.map(|(name, bound, met)| (name.to_owned(), bound, met)));
    }

    #[test]
    fn ranges_are_promised_a_time_and_figures_what_they_say() {
        let month = Subject::new(Part::Ranges, "30 days", Axis::Visitors, 10);
        let of = |contender, connections, p50_ms| Measurement {
            connections,
            ..measurement(month.clone(), contender, 1.0, p50_ms)
        };
        let all = [of(Contender::Daemon, 1, 201.0), of(Contender::Daemon, 4, 900.0), of(Contender::Textbook, 1, 900.0)];
        let figure = |name: &str, value| Figure::new(Part::Ranges, name.to_owned(), "×", vec![value]);
        let figures = [figure("settling", 1.4).at_most(1.5), figure("memory", 99.0)];
        let evaluated: Vec<_> =
            evaluate(&all, &[], &figures).into_iter().map(|target| (target.name, target.bound, target.met)).collect();
        let expected = [
            ("30 days, 10 visitors an hour: p50 in ms", Bound::AtMost(200.0), false),
            ("settling", Bound::AtMost(1.5), true),
        ];
        assert_eq!(evaluated, expected.map(|(name, bound, met)| (name.to_owned(), bound, met)));
    }
}
