//! Contenders compared within one run. Unlike figures, these ratios can be compared between machines.

use std::fmt;

use crate::{
    measure::{Contender, Measurement, find},
    numbers::median,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// Another contender at the same question and size.
    Contender(Contender),
    /// The same contender at the same question in its smallest size.
    Smallest,
    /// The same of an earlier commit.
    Earlier,
}

/// The rate of one measurement by that of another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) name: String,
    /// Of each round. Both loads of a round ran within seconds of one another.
    pub(crate) rounds: Vec<f64>,
}

impl Ratio {
    /// The median over the rounds; none if there is no round.
    pub(crate) fn value(&self) -> Option<f64> {
        median(self.rounds.clone())
    }
}

/// How far rounds are apart, as a share of their median; none if there is no round.
pub(crate) fn spread(rounds: &[f64]) -> Option<f64> {
    let largest = rounds.iter().copied().reduce(f64::max)?;
    let smallest = rounds.iter().copied().reduce(f64::min)?;
    Some((largest - smallest) / median(rounds.to_vec())?)
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contender(contender) => contender.fmt(f),
            Self::Smallest => f.write_str("the smallest"),
            Self::Earlier => f.write_str("the earlier"),
        }
    }
}

/// None if there is nothing to compare the measurement with.
pub(crate) fn compare(measurement: &Measurement, all: &[Measurement], baseline: Baseline) -> Option<Ratio> {
    let base = match baseline {
        Baseline::Contender(contender) => find(all, &measurement.subject, contender)?,
        Baseline::Smallest => smallest(measurement, all)?,
        Baseline::Earlier => all.iter().find(|other| {
            other.subject == measurement.subject && other.contender.present() == Some(measurement.contender)
        })?,
    };
    if std::ptr::eq(base, measurement) {
        return None;
    }
    let rounds = measurement.rounds.iter().zip(&base.rounds);
    Some(Ratio {
        name: format!("{}: {} to {baseline}", measurement.subject, measurement.contender),
        rounds: rounds.map(|(sample, base)| sample.per_second / base.per_second).collect(),
    })
}

/// With more clients it is another question, not the same one in another size.
fn smallest<'a>(measurement: &Measurement, all: &'a [Measurement]) -> Option<&'a Measurement> {
    let subject = &measurement.subject;
    let alike = all.iter().filter(|other| {
        other.contender == measurement.contender
            && (other.subject.part, other.subject.axis) == (subject.part, subject.axis)
            && other.subject.question == subject.question
            && subject.grows()
    });
    alike.min_by_key(|other| other.subject.size)
}

#[cfg(test)]
mod tests {
    use super::{Baseline, compare, spread};
    use crate::{
        measure::{Axis, Contender, Measurement, Sample, Subject},
        plan::Part,
    };

    fn measurement(axis: Axis, size: u32, contender: Contender, rates: [f64; 3]) -> Measurement {
        let rounds = rates.map(|per_second| Sample { count: 1, per_second, latency: None, cpu: None }).to_vec();
        Measurement { subject: Subject::new(Part::Growth, "POST", axis, size), contender, connections: 64, rounds }
    }

    #[test]
    fn a_ratio_compares_two_contenders_within_each_round() {
        let all = [
            measurement(Axis::Connections, 64, Contender::Ceiling, [100.0, 200.0, 400.0]),
            measurement(Axis::Connections, 16, Contender::Textbook, [1.0, 1.0, 1.0]),
            measurement(Axis::Connections, 64, Contender::Daemon, [50.0, 50.0, 50.0]),
        ];
        let ratio = compare(&all[2], &all, Baseline::Contender(Contender::Ceiling)).unwrap();
        assert_eq!(ratio.rounds, [0.5, 0.25, 0.125]);
        assert_eq!(ratio.value(), Some(0.25));
        assert_eq!(spread(&ratio.rounds), Some(1.5));
        assert_eq!(ratio.name, "POST, 64 connections: analyticsd to warp that does nothing");
        assert_eq!(compare(&all[2], &all, Baseline::Contender(Contender::Textbook)), None);
    }

    #[test]
    fn what_grows_is_compared_with_its_smallest_size() {
        let all = [
            measurement(Axis::Events, 10_000, Contender::Daemon, [90.0, 90.0, 90.0]),
            measurement(Axis::Events, 1_000, Contender::Daemon, [100.0, 100.0, 100.0]),
            measurement(Axis::Users, 10, Contender::Daemon, [1.0, 1.0, 1.0]),
            measurement(Axis::Events, 10, Contender::Textbook, [1.0, 1.0, 1.0]),
        ];
        let ratio = compare(&all[0], &all, Baseline::Smallest).unwrap();
        assert_eq!(ratio.value(), Some(0.9));
        assert_eq!(ratio.name, "POST, 10,000 events: analyticsd to the smallest");
        assert_eq!(compare(&all[1], &all, Baseline::Smallest), None);
    }

    #[test]
    fn present_programs_are_compared_with_the_earlier_ones() {
        let all = [
            measurement(Axis::Connections, 64, Contender::EarlierImport, [1.0; 3]),
            measurement(Axis::Connections, 64, Contender::Earlier, [50.0, 100.0, 100.0]),
            measurement(Axis::Connections, 64, Contender::Daemon, [100.0, 50.0, 100.0]),
        ];
        let ratio = compare(&all[2], &all, Baseline::Earlier).unwrap();
        assert_eq!(
            (ratio.name.as_str(), ratio.value()),
            ("POST, 64 connections: analyticsd to the earlier", Some(1.0))
        );
        assert_eq!(compare(&all[1], &all, Baseline::Earlier), None);
        assert_eq!(compare(&all[2], &all[..1], Baseline::Earlier), None);
    }

    #[test]
    fn more_clients_are_another_question() {
        let all = [16, 64].map(|size| measurement(Axis::Connections, size, Contender::Daemon, [1.0; 3]));
        assert_eq!(compare(&all[1], &all, Baseline::Smallest), None);
    }
}
