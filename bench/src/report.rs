//! What came out, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::{
    cli::Plan, database::DatabaseFacts, ledger::Closed, machine::Machine, measure::Measurement, servers::Contender,
    wrk::Sample,
};

/// All that a run found. As JSON it has every round, as text the medians.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) database: DatabaseFacts,
    pub(crate) plan: Plan,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) ledger: Closed,
}

impl Measurement {
    fn is_as_planned(&self, plan: &Plan) -> bool {
        (self.connections, self.seconds) == (plan.connections, plan.seconds)
    }

    fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }

    fn rate(&self) -> f64 {
        self.median(|sample| sample.requests_per_second)
    }

    /// How many times the rate of another server at the same question this one has.
    fn ratio_to(&self, server: Contender, all: &[Self]) -> f64 {
        let same = all.iter().find(|other| other.server == server && other.what == self.what);
        self.rate() / same.map_or(f64::NAN, Self::rate)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, database, plan, measurements, ledger } = self;
        writeln!(
            f,
            "{machine}; {database}; {} connections, {} seconds, medians of {} round(s), load and servers on the same machine; the textbook has {} connections to the database.\n",
            plan.connections, plan.seconds, plan.rounds, plan.textbook_connections
        )?;
        writeln!(f, "| measured | server | requests/s | p50 | p99 | of the ceiling | times the textbook |")?;
        writeln!(f, "| --- | --- | ---: | ---: | ---: | ---: | ---: |")?;
        for measurement in measurements {
            let reduced = if measurement.is_as_planned(plan) { "" } else { " *" };
            writeln!(
                f,
                "| {} | {}{reduced} | {} | {} ms | {} ms | {} % | {} |",
                measurement.what,
                measurement.server,
                figure(measurement.rate()),
                figure(measurement.median(|sample| sample.p50_ms)),
                figure(measurement.median(|sample| sample.p99_ms)),
                figure(100.0 * measurement.ratio_to(Contender::Ceiling, measurements)),
                figure(measurement.ratio_to(Contender::Textbook, measurements)),
            )?;
        }
        if let Some(slow) = measurements.iter().find(|measurement| !measurement.is_as_planned(plan)) {
            writeln!(
                f,
                "\n\\* with {} connections for {} seconds, because each answer takes so long.",
                slow.connections, slow.seconds
            )?;
        }
        writeln!(
            f,
            "\nanalyticsd acknowledged {} of these events and counts {}; the rest was cut off between commit and answer.",
            ledger.acknowledged, ledger.stored
        )
    }
}

impl fmt::Display for DatabaseFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}", self.postgresql)?;
        match &self.timescaledb {
            Some(version) => write!(f, " with TimescaleDB {version}")?,
            None => write!(f, " without TimescaleDB")?,
        }
        write!(f, ", fsync {}, synchronous_commit {}", self.fsync, self.synchronous_commit)?;
        self.file_system.as_ref().map_or(Ok(()), |file_system| write!(f, ", data on {file_system}"))
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if !odd.is_multiple_of(2) => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// A number with about three digits that mean something, and commas between thousands.
fn figure(number: f64) -> String {
    let decimals = if number >= 100.0 {
        0
    } else if number >= 1.0 {
        1
    } else {
        3
    };
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.find('.').map_or((text.as_str(), ""), |point| text.split_at(point));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::{figure, median};
    use crate::{measure::Measurement, servers::Contender, wrk::Sample};

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(figure(median(vec![30.0, 10.0, 20.0])), "20.0");
        assert_eq!(figure(median(vec![40.0, 10.0, 30.0, 20.0])), "25.0");
        assert_eq!(figure(median(vec![7.0])), "7.0");
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn figures_keep_about_three_digits() {
        let table = [
            (0.002_34, "0.002"),
            (1.0, "1.0"),
            (99.94, "99.9"),
            (100.4, "100"),
            (1_000.0, "1,000"),
            (48_600.4, "48,600"),
            (1_234_567.0, "1,234,567"),
        ];
        for (number, expected) in table {
            assert_eq!(figure(number), expected);
        }
    }

    #[test]
    fn a_ratio_compares_the_medians_of_two_servers_at_the_same_question() {
        let measurement = |what, server, rates: [f64; 3]| Measurement {
            what,
            server,
            connections: 64,
            seconds: 4,
            rounds: rates
                .map(|rate| Sample { requests: 1, requests_per_second: rate, p50_ms: 1.0, p99_ms: 2.0 })
                .to_vec(),
        };
        let measurements = [
            measurement("POST", Contender::Ceiling, [100.0, 300.0, 200.0]),
            measurement("GET", Contender::Textbook, [1.0, 1.0, 1.0]),
            measurement("POST", Contender::Textbook, [10.0, 1.0, 20.0]),
            measurement("POST", Contender::Daemon, [50.0, 60.0, 0.0]),
        ];
        let daemon = &measurements[3];
        assert_eq!(figure(100.0 * daemon.ratio_to(Contender::Ceiling, &measurements)), "25.0");
        assert_eq!(figure(daemon.ratio_to(Contender::Textbook, &measurements)), "5.0");
    }
}
