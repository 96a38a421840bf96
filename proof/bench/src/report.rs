//! The results, for people and for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    database::DatabaseFacts,
    figure::Figure,
    ledger::Audited,
    machine::{self, Machine},
    measure::{Contender, Cpu, Latency, Measurement, find},
    memory::Memory,
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
    /// A run that was stored before there were any has none.
    #[serde(default)]
    pub(crate) figures: Vec<Figure>,
    pub(crate) targets: Vec<Target>,
}

/// What a measurement is compared with, in a column of its own.
struct Column {
    heading: &'static str,
    baseline: Baseline,
    factor: f64,
}

const fn column(heading: &'static str, baseline: Baseline, factor: f64) -> Column {
    Column { heading, baseline, factor }
}

const COLUMNS: [Column; 7] = [
    column("% of ceiling", Baseline::Contender(Contender::Ceiling), 100.0),
    column("× textbook", Baseline::Contender(Contender::Textbook), 1.0),
    column("% of open daemon", Baseline::Contender(Contender::Daemon), 100.0),
    column("% of COPY", Baseline::Contender(Contender::Copy), 100.0),
    column("× HyperLogLog", Baseline::Contender(Contender::Sketches), 1.0),
    column("× smallest", Baseline::Smallest, 1.0),
    column("× earlier", Baseline::Earlier, 1.0),
];

/// A share of processor time, in a column of its own.
#[derive(Clone, Copy)]
struct Share {
    heading: &'static str,
    of: fn(&Cpu) -> Option<f64>,
}

const SHARES: [Share; 2] =
    [Share { heading: "generator %", of: Cpu::generator_share }, Share { heading: "cores busy %", of: |cpu| cpu.busy }];

/// In percent.
fn share(measurement: &Measurement, share: Share) -> Option<f64> {
    Some(100.0 * measurement.median(|sample| sample.cpu.as_ref().and_then(share.of))?)
}

/// The width of prose in the documents.
const WIDTH: usize = 100;

impl Report {
    pub(crate) fn new(
        found: Findings,
        plan: Plan,
        machine: Machine,
        database: DatabaseFacts,
        generator: String,
    ) -> Self {
        let Findings { measurements, audited, memory, figures } = found;
        let targets = targets::evaluate(&measurements, &memory, &figures);
        Self {
            revision: machine::revision(),
            generator,
            machine,
            database,
            plan,
            measurements,
            audited,
            memory,
            figures,
            targets,
        }
    }

    fn write_part(&self, f: &mut fmt::Formatter<'_>, part: Part) -> fmt::Result {
        let of_what = match part {
            Part::Rows => "rows",
            // Of single events and counts the former, of batches and imports the latter.
            Part::Shards => "requests or rows",
            _ => "requests",
        };
        let of_part = || self.measurements.iter().filter(|measurement| measurement.subject.part == part);
        let is_used = |column: &&Column| of_part().any(|measurement| self.compared(measurement, column).is_some());
        let columns: Vec<&Column> = COLUMNS.iter().filter(is_used).collect();
        writeln!(f, "\n### {}\n", part.title())?;
        // Runs that were stored before shares were measured have none.
        let shares: &[Share] =
            if of_part().any(|measurement| share(measurement, SHARES[1]).is_some()) { &SHARES } else { &[] };
        write!(f, "| | | {of_what}/s | p50 ms | p99 ms | p99.9 ms | server µs | database µs | generator µs |")?;
        for heading in shares.iter().map(|share| share.heading).chain(columns.iter().map(|column| column.heading)) {
            write!(f, " {heading} |")?;
        }
        writeln!(f, "\n| --- | --- |{}", " ---: |".repeat(7 + shares.len() + columns.len()))?;
        for measurement in of_part() {
            self.write_row(f, measurement, shares, &columns)?;
        }
        self.write_figures(f, part)
    }

    fn write_figures(&self, f: &mut fmt::Formatter<'_>, part: Part) -> fmt::Result {
        let mut of_part = self.figures.iter().filter(|figure| figure.part == part).peekable();
        if of_part.peek().is_some() {
            writeln!(f, "\n| | |\n| --- | ---: |")?;
        }
        for figure in of_part {
            writeln!(f, "| {} | {} {} |", figure.name, cell(figure.value()), figure.unit)?;
        }
        Ok(())
    }

    fn write_row(
        &self,
        f: &mut fmt::Formatter<'_>,
        measurement: &Measurement,
        shares: &[Share],
        columns: &[&Column],
    ) -> fmt::Result {
        let latency = |percentile: fn(&Latency) -> f64| cell(measurement.latency(percentile));
        let cpu = |time: fn(&Cpu) -> Option<f64>| cell(measurement.median(|sample| sample.cpu.as_ref().and_then(time)));
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            measurement.subject,
            self.contender(measurement),
            cell(measurement.rate()),
            latency(|latency| latency.p50_ms),
            latency(|latency| latency.p99_ms),
            latency(|latency| latency.p999_ms),
            cpu(|cpu| Some(cpu.server_us)),
            cpu(|cpu| cpu.database_us),
            cpu(|cpu| Some(cpu.generator_us)),
        )?;
        for &one in shares {
            write!(f, " {} |", cell(share(measurement, one)))?;
        }
        for column in columns {
            write!(f, " {} |", cell(self.compared(measurement, column)))?;
        }
        writeln!(f)
    }

    /// With the number of clients if the daemon had another one: latencies of fewer clients are shorter.
    fn contender(&self, measurement: &Measurement) -> String {
        let Measurement { subject, contender, connections, .. } = measurement;
        let name = self.name_of(*contender);
        let has_others = subject.part != Part::Rows
            && find(&self.measurements, subject, Contender::Daemon).is_some_and(|of| of.connections != *connections);
        if has_others { format!("{name}, {connections} connections") } else { name }
    }

    /// Programs of an earlier commit are named with it.
    fn name_of(&self, contender: Contender) -> String {
        match (contender.present(), &self.plan.against) {
            (Some(present), Some(commit)) => format!("{present} at {commit}"),
            _ => contender.to_string(),
        }
    }

    fn compared(&self, measurement: &Measurement, column: &Column) -> Option<f64> {
        let of_daemon = column.baseline == Baseline::Contender(Contender::Daemon);
        if of_daemon && measurement.contender != Contender::Guarded {
            return None;
        }
        Some(column.factor * compare(measurement, &self.measurements, column.baseline)?.value()?)
    }

    fn write_targets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n### What is promised\n\n| | came to | promised | |\n| --- | ---: | --- | --- |")?;
        for Target { name, value, bound, met, .. } in &self.targets {
            let met = if *met { "met" } else { "**not met**" };
            writeln!(f, "| {name} | {} | {bound} | {met} |", figure(*value))?;
        }
        Ok(())
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.memory.iter().filter(|memory| memory.of == Contender::Daemon);
        let known = own.filter_map(|Memory { after, peak_mib, .. }| {
            Some(format!("{} MiB after \"{}\"", figure((*peak_mib)?), after.title()))
        });
        let known: Vec<String> = known.collect();
        if known.is_empty() {
            return Ok(());
        }
        let known = format!("The most memory that analyticsd had had at a time: {}.", known.join(", "));
        write!(f, "\n{}", wrapped(&known))
    }

    fn write_audit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Audited { acknowledged, sent, stored } = self.audited;
        if sent == 0 {
            return Ok(());
        }
        let audited = format!(
            "At least {} single events were acknowledged, at most {} were sent, and analyticsd counts {}. \
             Each load ends by cutting its connections off, perhaps between a commit and its answer.",
            grouped(acknowledged),
            grouped(sent),
            grouped(stored)
        );
        write!(f, "\n{}", wrapped(&audited))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, database, plan, generator, .. } = self;
        let made_on = format!(
            "{machine}; {database}; {generator} on the same machine; loads of {} s, medians of {} round(s); \
             the textbook has {} connections to the database{}.",
            plan.seconds,
            plan.rounds,
            plan.textbook_connections,
            self.revision.as_ref().map_or(String::new(), |revision| format!("; sources at {revision}"))
        );
        f.write_str(&wrapped(&made_on))?;
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

/// Lines that are no wider than the documents' prose.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 {
            let fits = width + 1 + length <= WIDTH;
            lines.push(if fits { ' ' } else { '\n' });
            width = if fits { width + 1 } else { 0 };
        }
        lines.push_str(word);
        width += length;
    }
    lines + "\n"
}

/// The run in the documentation.
#[cfg(test)]
pub(crate) fn stored() -> Report {
    serde_json::from_slice(include_bytes!("../../../docs/performance.json")).expect("it is a run of this version")
}

#[cfg(test)]
mod tests {
    use super::stored;
    use crate::{
        figure::Figure,
        measure::{Axis, Contender, Cpu, Measurement, Sample, Subject},
        plan::Part,
    };

    #[test]
    fn fewer_clients_than_the_daemon_had_are_named() {
        let mut report = stored();
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

    #[test]
    fn several_shards_stand_beside_one() {
        let mut report = stored();
        report.plan.parts = vec![Part::Shards];
        report.measurements = [(1, 400.0), (4, 100.0)]
            .map(|(shards, per_second)| Measurement {
                subject: Subject::new(Part::Shards, "batches", Axis::Shards, shards),
                contender: Contender::Daemon,
                connections: 8,
                rounds: vec![Sample { count: 1, per_second, latency: None, cpu: None }],
            })
            .to_vec();
        let report = report.to_string();
        assert!(report.contains("\n### Several shards\n\n| | | requests or rows/s | "), "{report}");
        assert!(report.contains("\n| batches, 1 shard | analyticsd | 400 |  |  |  |  |  |  |  |\n"), "{report}");
        assert!(report.contains("\n| batches, 4 shards | analyticsd | 100 |  |  |  |  |  |  | 0.25 |\n"), "{report}");
    }

    #[test]
    fn shares_of_processor_time_and_earlier_programs_have_columns_if_they_were_measured() {
        let mut report = stored();
        report.plan.parts = vec![Part::Writes];
        report.plan.against = Some("abc123".to_owned());
        let cpu = Cpu { server_us: 2.0, database_us: Some(1.0), generator_us: 1.0, busy: Some(0.8) };
        report.measurements = [(Contender::Daemon, 400.0), (Contender::Earlier, 200.0)]
            .map(|(contender, per_second)| Measurement {
                subject: Subject::new(Part::Writes, "POST", Axis::Connections, 64),
                contender,
                connections: 64,
                rounds: vec![Sample { count: 1, per_second, latency: None, cpu: Some(cpu) }],
            })
            .to_vec();
        let report = report.to_string();
        assert!(report.contains(" generator µs | generator % | cores busy % | × earlier |\n"), "{report}");
        let row = "| POST, 64 connections | analyticsd | 400 |  |  |  | 2.00 | 1.00 | 1.00 | 25.0 | 80.0 | 2.00 |\n";
        assert!(report.contains(row), "{report}");
        assert!(report.contains("| POST, 64 connections | analyticsd at abc123 | 200 | "), "{report}");
    }

    #[test]
    fn what_is_no_rate_stands_below_the_rates_of_its_part() {
        let mut report = stored();
        report.plan.parts = vec![Part::Reads, Part::Ranges];
        report.measurements.retain(|measurement| measurement.subject.part == Part::Reads);
        report.figures = vec![Figure::new(Part::Ranges, "set".to_owned(), "bytes", vec![1.0, 4.0, 2.0])];
        let report = report.to_string();
        assert!(report.contains(" ---: |\n\n| | |\n| --- | ---: |\n| set | 2.00 bytes |\n"), "{report}");
        assert_eq!(report.matches("| set |").count(), 1);
    }

    #[test]
    fn the_page_has_the_stored_run() {
        let report = stored().to_string();
        assert!(include_str!("../../../docs/performance.md").contains(&report), "{report}");
        let mut prose = report.lines().filter(|line| !line.starts_with('|'));
        assert!(prose.all(|line| line.chars().count() <= 100), "{report}");
    }
}
