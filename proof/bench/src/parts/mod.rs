//! One file for each part of the measurements, and the code that they share.

mod access;
mod growth;
mod mix;
mod ranges;
mod reads;
mod replicas;
mod rows;
mod settling;
mod shards;
mod sites;
mod writes;

use std::{num::NonZero, thread};

use anyhow::{Context, bail};
use db::Flavour;
use model::{Hour, Timestamp};

use crate::{
    database::Database,
    figure::Figure,
    fill::{self, FilledHour},
    interleave::{Instruments, Planned},
    ledger::Audited,
    measure::{Measurement, Subject},
    memory::Memory,
    plan::{Part, Plan},
    servers::{Programs, ServedDatabase, Server},
    table,
    wrk::{Traffic, Wrk},
};

/// The connections of a load, unless their number is varied.
const CONNECTIONS: u32 = 64;

/// The textbook reads every event of a large hour for each answer, which takes about a second. So it gets only as
/// many connections as keep the machine busy, and time for some answers.
const FEW_CONNECTIONS: u32 = 4;
const ENOUGH_SECONDS: u32 = 10;

#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) audited: Audited,
    pub(crate) memory: Vec<Memory>,
    pub(crate) figures: Vec<Figure>,
}

struct Stage<'a> {
    plan: &'a Plan,
    programs: &'a Programs,
    database: &'a Database,
    served: ServedDatabase<'a>,
    instruments: Instruments<'a>,
    ceiling: Server,
    textbook: Server,
    daemon: Server,
}

/// Makes both schemas in an empty database, starts the servers, and measures the parts of the plan.
pub(crate) async fn measure(
    plan: &Plan,
    wrk: &Wrk,
    programs: &Programs,
    database: &Database,
) -> anyhow::Result<Findings> {
    database.require_room_beside(plan.databases_beside()).await?;
    let flavour = database.migrate().await?;
    table::make(database.client(), flavour).await?;
    if plan.parts.iter().any(|part| matches!(part, Part::Mix | Part::Growth)) {
        // Before the daemon runs, which would settle them itself.
        make_settled_hours(database, flavour).await?;
    }

    let served = ServedDatabase { url: database.url(), flavour };
    let stage = Stage {
        plan,
        programs,
        database,
        instruments: Instruments { wrk, database, postmaster: database.postmaster().await?, rounds: plan.rounds },
        ceiling: programs.ceiling().await?,
        textbook: programs.textbook(&served, plan.textbook_connections).await?,
        daemon: programs.daemon(&served).await?,
        served,
    };
    let mut all = Findings::default();
    for &part in &plan.parts {
        let found = stage.measure(part).await.with_context(|| format!("measuring {part:?}"))?;
        all.measurements.extend(found.measurements);
        all.audited += found.audited;
        all.memory.extend(found.memory);
        all.figures.extend(found.figures);
    }
    Ok(all)
}

async fn make_settled_hours(database: &Database, flavour: Flavour) -> anyhow::Result<()> {
    eprintln!("filling the settled hours");
    let small = fill::settled_hours().iter().map(|hour| FilledHour { hour, events: 1_000, users: fill::USERS });
    let hours: Vec<FilledHour> = std::iter::once(fill::large_settled_hour()).chain(small).collect();
    fill::fill(database.store(), &hours).await?;
    fill::settle(database.store(), hours.iter().map(|filled| filled.hour)).await?;
    table::fill(database.client(), &hours).await?;
    let end = fill::past_hour(u32::try_from(hours.len())?);
    let (first, end) = (hours[0].hour.start().to_utc(), end.start().to_utc());
    table::materialize(database.client(), flavour, first, end).await
}

impl Stage<'_> {
    async fn measure(&self, part: Part) -> anyhow::Result<Findings> {
        let mut found = match part {
            Part::Reads => reads::measure(self).await?,
            Part::Mix => mix::measure(self).await?,
            Part::Writes => writes::measure(self).await?,
            Part::Growth => growth::measure(self).await?,
            Part::Rows => return rows::measure(self).await,
            Part::Replicas => return replicas::measure(self).await,
            Part::Access => return access::measure(self).await,
            Part::Sites => return sites::measure(self).await,
            Part::Shards => return shards::measure(self).await,
            Part::Ranges => return ranges::measure(self).await,
        };
        // These parts share one daemon, so each figure includes the parts before it.
        found.memory.push(Memory { after: part, peak_mib: self.daemon.peak_memory_mib() });
        Ok(found)
    }

    /// Runs the loads on the counter of this daemon, after the maintenance of the database server.
    async fn run(&self, planned: &[Planned<'_>], daemon: &Server) -> anyhow::Result<Findings> {
        self.run_on(planned, &[daemon]).await
    }

    /// The same on several counters, with one daemon of each.
    async fn run_on(&self, planned: &[Planned<'_>], counters: &[&Server]) -> anyhow::Result<Findings> {
        self.database.calm_down().await?;
        let (measurements, audited) = self.instruments.measure(planned, counters).await?;
        Ok(Findings { measurements, audited, ..Findings::default() })
    }

    /// Fills hours for the daemon, and checks its counts.
    async fn fill(&self, hours: &[FilledHour]) -> anyhow::Result<()> {
        fill::fill(self.database.store(), hours).await?;
        self.expect_counts(&self.daemon, hours).await
    }

    /// Fills hours for the textbook, and checks its counts.
    async fn fill_textbook(&self, hours: &[FilledHour]) -> anyhow::Result<()> {
        table::fill(self.database.client(), hours).await?;
        self.expect_counts(&self.textbook, hours).await
    }

    async fn expect_counts(&self, server: &Server, hours: &[FilledHour]) -> anyhow::Result<()> {
        for filled in hours {
            let counts = server.counts(filled.hour).await?;
            if counts != filled.counts() {
                bail!(
                    "{} returned {counts:?} for {}, but the hour has {:?}",
                    server.name,
                    filled.hour,
                    filled.counts()
                );
            }
        }
        Ok(())
    }

    fn contenders(&self) -> [&Server; 3] {
        [&self.ceiling, &self.textbook, &self.daemon]
    }

    /// A load of the usual length and number of connections.
    fn load<'b>(&self, subject: Subject, server: &'b Server, traffic: Traffic) -> Planned<'b> {
        let seconds = self.plan.seconds;
        Planned { subject, servers: vec![server], traffic, connections: CONNECTIONS, seconds, counter: 0 }
    }

    /// A load whose answers take long.
    fn slow_load<'b>(&self, subject: Subject, server: &'b Server, traffic: Traffic) -> Planned<'b> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let connections = u32::try_from(cores).unwrap_or(u32::MAX).max(FEW_CONNECTIONS);
        let seconds = self.plan.seconds.max(ENOUGH_SECONDS);
        Planned { connections, seconds, ..self.load(subject, server, traffic) }
    }
}

/// The hour in which a part begins. To the daemon, an hour that has just ended is as good.
fn current_hour() -> Hour {
    Hour::containing(Timestamp::now())
}
