//! The results, for people and for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    database::DatabaseFacts,
    ledger::Audited,
    machine::{self, Machine},
    measure::{Contender, Cpu, Latency, Measurement, find},
    numbers::{figure, grouped},
    parts::Findings,
    plan::{Part, Plan},
    ratios::{Baseline, compare},
    targets::{self, Target},
};

/// As JSON it has every round, as Markdown the medians.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The commit of the sources.
    pub(crate) revision: Option<String>,
    /// The load generator.
    pub(crate) generator: String,
    pub(crate) machine: Machine,
    pub(crate) database: DatabaseFacts,
    pub(crate) plan: Plan,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) audited: Audited,
    pub(crate) memory: Vec<Memory>,
    pub(crate) targets: Vec<Target>,
}

/// The most memory of the daemon up to the end of a part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) after: Part,
    /// If /proc has it.
    pub(crate) peak_mib: Option<f64>,
}

impl Report {
    pub(crate) fn new(
        found: Findings,
        plan: Plan,
        machine: Machine,
        database: DatabaseFacts,
        generator: String,
    ) -> Self {
        let Findings { measurements, audited, memory } = found;
        let targets = targets::evaluate(&measurements, &memory);
        Self {
            revision: machine::revision(),
            generator,
            machine,
            database,
            plan,
            measurements,
            audited,
            memory,
            targets,
        }
    }

    /// The parts of the environment that ratios depend on.
    pub(crate) fn grounds(&self) -> String {
        let Machine { cores, cpu, .. } = &self.machine;
        format!(
            "{cores} cores ({cpu}), {}, the textbook with {} connections",
            self.database, self.plan.textbook_connections
        )
    }

    fn write_part(&self, f: &mut fmt::Formatter<'_>, part: Part) -> fmt::Result {
        let each = if part == Part::Rows { "row" } else { "request" };
        writeln!(f, "\n### {}\n", part.title())?;
        writeln!(
            f,
            "| | | {each}s/s | p50 ms | p99 ms | p99.9 ms | server µs | database µs | generator µs | compared |"
        )?;
        writeln!(f, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")?;
        for measurement in self.measurements.iter().filter(|measurement| measurement.subject.part == part) {
            self.write_row(f, measurement)?;
        }
        Ok(())
    }

    fn write_row(&self, f: &mut fmt::Formatter<'_>, measurement: &Measurement) -> fmt::Result {
        let latency = |percentile: fn(&Latency) -> f64| cell(measurement.latency(percentile));
        let cpu = |time: fn(&Cpu) -> Option<f64>| cell(measurement.median(|sample| sample.cpu.as_ref().and_then(time)));
        writeln!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            measurement.subject,
            self.contender(measurement),
            cell(measurement.rate()),
            latency(|latency| latency.p50_ms),
            latency(|latency| latency.p99_ms),
            latency(|latency| latency.p999_ms),
            cpu(|cpu| Some(cpu.server_us)),
            cpu(|cpu| cpu.database_us),
            cpu(|cpu| Some(cpu.generator_us)),
            self.compared(measurement),
        )
    }

    /// With the number of clients if the daemon had another one: latencies of fewer clients are shorter.
    fn contender(&self, measurement: &Measurement) -> String {
        let Measurement { subject, contender, connections, .. } = measurement;
        let has_others = subject.part != Part::Rows
            && find(&self.measurements, subject, Contender::Daemon).is_some_and(|of| of.connections != *connections);
        if has_others { format!("{contender}, {connections} connections") } else { contender.to_string() }
    }

    fn compared(&self, measurement: &Measurement) -> String {
        let ratio = |baseline| compare(measurement, &self.measurements, baseline)?.value();
        let of = |contender| ratio(Baseline::Contender(contender));
        [
            of(Contender::Ceiling).map(|ratio| format!("{} % of the ceiling", figure(100.0 * ratio))),
            of(Contender::Textbook).map(|ratio| format!("{} × the textbook", figure(ratio))),
            of(Contender::Daemon)
                .filter(|_| measurement.contender == Contender::Guarded)
                .map(|ratio| format!("{} % of the open daemon", figure(100.0 * ratio))),
            of(Contender::Copy).map(|ratio| format!("{} % of COPY", figure(100.0 * ratio))),
            ratio(Baseline::Smallest).map(|ratio| format!("{} × the smallest", figure(ratio))),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
    }

    fn write_targets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n### What is promised\n\n| | came to | promised | |\n| --- | ---: | --- | --- |")?;
        for Target { name, value, bound, met } in &self.targets {
            let met = if *met { "met" } else { "**not met**" };
            writeln!(f, "| {name} | {} | {bound} | {met} |", figure(*value))?;
        }
        Ok(())
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.memory.iter().filter_map(|Memory { after, peak_mib }| {
            Some(format!("{} MiB after \"{}\"", figure((*peak_mib)?), after.title()))
        });
        let known: Vec<String> = known.collect();
        if known.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nThe most memory that analyticsd had had at a time: {}.", known.join(", "))
    }

    fn write_audit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Audited { acknowledged, sent, stored } = self.audited;
        if sent == 0 {
            return Ok(());
        }
        writeln!(
            f,
            "\nAt least {} single events were acknowledged, at most {} sent, and analyticsd counts {}: \
             each load ends by cutting its connections off, perhaps between a commit and its answer.",
            grouped(acknowledged),
            grouped(sent),
            grouped(stored)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, database, plan, generator, .. } = self;
        writeln!(
            f,
            "{machine}; {database}; {generator} on the same machine; loads of {} s, medians of {} round(s); \
             the textbook has {} connections to the database{}.",
            plan.seconds,
            plan.rounds,
            plan.textbook_connections,
            self.revision.as_ref().map_or(String::new(), |revision| format!("; sources at {revision}"))
        )?;
        for &part in &plan.parts {
            self.write_part(f, part)?;
        }
        self.write_targets(f)?;
        self.write_memory(f)?;
        self.write_audit(f)
    }
}

fn cell(number: Option<f64>) -> String {
    number.map(figure).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::{
        check,
        measure::{Contender, Measurement},
        plan::Part,
    };

    #[test]
    fn fewer_clients_than_the_daemon_had_are_named() {
        let mut report = check::read(include_bytes!("../../../docs/performance.json")).unwrap();
        let is_mix = |measurement: &&mut Measurement| measurement.subject.part == Part::Mix;
        for textbook in report.measurements.iter_mut().filter(is_mix).filter(|mix| mix.contender == Contender::Textbook)
        {
            textbook.connections = 5;
        }
        let report = report.to_string();
        assert!(report.contains("| mix, 64 connections | textbook, 5 connections | "), "{report}");
        assert!(report.contains("| GET, 64 connections | textbook | "), "{report}");
        assert!(report.contains("| rows, 10,000 users | psql's COPY | "), "{report}");
    }
}
