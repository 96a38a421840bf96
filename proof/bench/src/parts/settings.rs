//! What each recommended setting of PostgreSQL brings: POST and batches on servers with all of them, with none, and
//! with all but one. The servers run side by side, and do their maintenance when they want to.

use super::{
    CONNECTIONS, Findings, MANY_CONNECTIONS, Stage, current_hour,
    rows::{self, CLIENTS, Clients, ROWS},
};
use crate::{
    database::Database,
    figure::Figure,
    fill::USERS,
    interleave::{Instruments, Planned},
    measure::{Axis, Contender, Measurement, Sample, Subject},
    plan::Part,
    rows::Rows,
    servers::Server,
    settings::recommended,
    table,
    wrk::Traffic,
};

const ALL: &str = "all lines";
/// Of the batches: most of the million rows are of new visitors, which go to all pages of an index.
const MANY_USERS: u32 = 1_000_000;

/// A server of its own with a daemon.
struct Variant {
    name: String,
    database: Database,
    daemon: Server,
}

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let mut variants = Vec::new();
    for (name, settings) in choices(&recommended()) {
        let database = stage.database.start_another(settings).await?;
        database.migrate().await?;
        let daemon = stage.programs.daemon(database.url()).await?;
        variants.push(Variant { name, database, daemon });
    }
    let mut found = posts(stage, &variants).await?;
    found.measurements.extend(batches(stage, &variants).await?);
    found.figures = figures(&found.measurements);
    for Variant { database, daemon, .. } in variants {
        drop(daemon);
        database.stop().await?;
    }
    Ok(found)
}

/// The first is what the others are compared with.
fn choices(lines: &[String]) -> Vec<(String, Vec<String>)> {
    let without = |left_out: &String| lines.iter().filter(|line| *line != left_out).cloned().collect();
    let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let mut choices = vec![(ALL.to_owned(), lines.to_vec())];
    // All but a single line are none.
    if lines.len() > 1 {
        choices.push(("no line".to_owned(), Vec::new()));
    }
    choices.extend(lines.iter().map(|line| (format!("all but {}", name(line)), without(line))));
    choices
}

async fn posts(stage: &Stage<'_>, variants: &[Variant]) -> anyhow::Result<Findings> {
    let traffic = Traffic::posts(current_hour(), USERS);
    let mut planned = Vec::new();
    // The loads of a server follow one another, so that each choice has the same load before it.
    for (counter, variant) in variants.iter().enumerate() {
        for connections in [CONNECTIONS, MANY_CONNECTIONS] {
            let subject = variant.subject("POST", Axis::Connections, connections);
            let load = stage.load(subject, &variant.daemon, traffic);
            planned.push(Planned { connections, counter, ..load });
        }
    }
    let daemons: Vec<&Server> = variants.iter().map(|variant| &variant.daemon).collect();
    // Each variant has a server of its own.
    let instruments = Instruments { postmaster: None, ..stage.instruments };
    let (measurements, audited) = instruments.measure(&planned, &daemons).await?;
    Ok(Findings { measurements, audited, ..Findings::default() })
}

async fn batches(stage: &Stage<'_>, variants: &[Variant]) -> anyhow::Result<Vec<Measurement>> {
    let mut measurements: Vec<Measurement> = variants
        .iter()
        .map(|variant| Measurement {
            subject: variant.subject("batches", Axis::Users, MANY_USERS),
            contender: Contender::Daemon,
            connections: CLIENTS,
            rounds: Vec::new(),
        })
        .collect();
    for round in 1..=stage.plan.rounds {
        let hour = rows::hours(round).next().expect("a round has hours");
        for (measurement, variant) in measurements.iter_mut().zip(variants) {
            eprintln!("round {round} of {}: {}", stage.plan.rounds, measurement.subject);
            let rows = Rows { hour, count: ROWS, users: MANY_USERS };
            table::make_room(variant.database.client(), hour).await?;
            let clients = Clients::Unnamed;
            let sample = rows::store(stage, stage.programs, &variant.daemon, Contender::Daemon, clients, rows).await?;
            measurement.rounds.push(Sample { cpu: None, ..sample });
        }
    }
    Ok(measurements)
}

impl Variant {
    fn subject(&self, question: &str, axis: Axis, size: u32) -> Subject {
        Subject::new(Part::Settings, &format!("{question}, {}", self.name), axis, size)
    }
}

/// All lines compared with each other choice.
fn figures(all: &[Measurement]) -> Vec<Figure> {
    let with_all = |other: &Measurement| {
        all.iter().find(|one| {
            let Subject { question, axis, size, .. } = &one.subject;
            let kind = other.subject.question.split(", ").next();
            question.ends_with(ALL)
                && question.split(", ").next() == kind
                && (*axis, *size) == (other.subject.axis, other.subject.size)
        })
    };
    let compared = |other: &Measurement| {
        let base = with_all(other).filter(|base| base.subject != other.subject)?;
        let rounds = base.rounds.iter().zip(&other.rounds).map(|(all, other)| all.per_second / other.per_second);
        Some(Figure::new(Part::Settings, format!("{}: {ALL} to this", other.subject), "×", rounds.collect()))
    };
    all.iter().filter_map(compared).collect()
}

#[cfg(test)]
mod tests {
    use super::{choices, figures};
    use crate::{
        measure::{Axis, Contender, Measurement, Sample, Subject},
        plan::Part,
    };

    #[test]
    fn each_line_is_left_out_once() {
        let lines = ["a=1".to_owned(), "b=2".to_owned()];
        let named: Vec<String> =
            choices(&lines).into_iter().map(|(name, lines)| format!("{name}: {}", lines.join(" "))).collect();
        assert_eq!(named, ["all lines: a=1 b=2", "no line: ", "all but a: b=2", "all but b: a=1"]);
        assert_eq!(choices(&lines[..1]).len(), 2);
    }

    #[test]
    fn all_lines_are_compared_with_each_choice_at_the_same_load() {
        let measurement = |question, size, rates: [f64; 3]| Measurement {
            subject: Subject::new(Part::Settings, question, Axis::Connections, size),
            contender: Contender::Daemon,
            connections: size,
            rounds: rates.map(|per_second| Sample { count: 1, per_second, latency: None, cpu: None }).to_vec(),
        };
        let figures = figures(&[
            measurement("POST, all lines", 64, [2.0, 2.0, 2.0]),
            measurement("POST, all but a", 64, [1.0, 2.0, 2.0]),
            measurement("POST, all but a", 256, [9.0, 9.0, 9.0]),
        ]);
        assert_eq!(figures.len(), 1);
        assert_eq!(figures[0].name, "POST, all but a, 64 connections: all lines to this");
        assert_eq!((figures[0].value(), figures[0].rounds.len()), (Some(1.0), 3));
    }
}
