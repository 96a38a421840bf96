//! One file for each part of the measurements, and the code that they share.

mod access;
mod earlier;
mod growth;
mod mix;
mod ranges;
mod reads;
mod replicas;
mod rows;
mod settings;
mod settling;
mod shards;
mod sites;
mod slow_disk;
mod writes;

use std::{num::NonZero, thread};

use anyhow::{Context, bail};
use db::Flavour;
use model::{Hour, Timestamp};

use self::earlier::EarlierDaemon;
use crate::{
    database::Database,
    earlier::Earlier,
    figure::Figure,
    fill::{self, FilledHour},
    interleave::{Instruments, Planned},
    ledger::Audited,
    measure::{Contender, Measurement, Subject},
    memory::Memory,
    plan::{Part, Plan},
    servers::{Programs, Server},
    table,
    wrk::{Traffic, Wrk},
};

/// The connections of a load, unless their number is varied.
const CONNECTIONS: u32 = 64;
const MANY_CONNECTIONS: u32 = 256;

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
    flavour: Flavour,
    instruments: Instruments<'a>,
    ceiling: Server,
    textbook: Server,
    daemon: Server,
    earlier: Option<EarlierDaemon<'a>>,
}

/// Makes both schemas in an empty database, starts the servers, and measures the parts of the plan.
pub(crate) async fn measure(
    plan: &Plan,
    wrk: &Wrk,
    programs: &Programs,
    earlier: Option<&Earlier>,
    database: &Database,
) -> anyhow::Result<Findings> {
    database.require_room_beside(plan.databases_beside()).await?;
    let flavour = database.migrate().await?;
    table::make(database.client(), flavour).await?;
    let needs_settled_hours = plan.parts.iter().any(|part| matches!(part, Part::Mix | Part::Growth));
    let settled_hours = if needs_settled_hours { settled_hours() } else { Vec::new() };
    // Before the daemon runs, which would settle them itself.
    make_settled_hours(database, flavour, &settled_hours).await?;
    let earlier = match earlier {
        Some(earlier) => Some(EarlierDaemon::start(earlier, database, &settled_hours).await?),
        None => None,
    };

    let stage = Stage {
        plan,
        programs,
        database,
        instruments: Instruments { wrk, database, postmaster: database.postmaster().await?, rounds: plan.rounds },
        ceiling: programs.ceiling().await?,
        textbook: programs.textbook(database.url(), flavour, plan.textbook_connections).await?,
        daemon: programs.daemon(database.url()).await?,
        flavour,
        earlier,
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

fn settled_hours() -> Vec<FilledHour> {
    let small = fill::settled_hours().iter().map(|hour| FilledHour { hour, events: 1_000, users: fill::USERS });
    std::iter::once(fill::large_settled_hour()).chain(small).collect()
}

async fn make_settled_hours(database: &Database, flavour: Flavour, hours: &[FilledHour]) -> anyhow::Result<()> {
    let [first, ..] = hours else { return Ok(()) };
    eprintln!("filling the settled hours");
    fill::fill(database.store(), hours).await?;
    fill::settle(database.store(), hours.iter().map(|filled| filled.hour)).await?;
    table::fill(database.client(), hours).await?;
    let end = fill::past_hour(u32::try_from(hours.len())?);
    let (first, end) = (first.hour.start().to_utc(), end.start().to_utc());
    table::materialize(database.client(), flavour, first, end).await
}

impl Stage<'_> {
    async fn measure(&self, part: Part) -> anyhow::Result<Findings> {
        let mut found = match part {
            Part::Reads => reads::measure(self).await?,
            Part::Mix => mix::measure(self).await?,
            Part::Writes => writes::measure(self).await?,
            Part::SlowDisk => return slow_disk::measure(self).await,
            Part::Growth => growth::measure(self).await?,
            Part::Rows => return rows::measure(self).await,
            Part::Replicas => return replicas::measure(self).await,
            Part::Access => return access::measure(self).await,
            Part::Sites => return sites::measure(self).await,
            Part::Shards => return shards::measure(self).await,
            Part::Ranges => return ranges::measure(self).await,
            Part::Settings => return settings::measure(self).await,
        };
        // These parts share one daemon, so each figure includes the parts before it.
        found.memory.extend(memory(part, &self.daemons()));
        Ok(found)
    }

    /// Runs the loads on the counter of this daemon and on that of the earlier one, after the maintenance of the database server.
    async fn run(&self, planned: &[Planned<'_>], daemon: &Server) -> anyhow::Result<Findings> {
        let earlier = self.earlier.iter().map(|earlier| &earlier.daemon);
        self.run_on(planned, &std::iter::once(daemon).chain(earlier).collect::<Vec<_>>()).await
    }

    /// The same on several counters, with one daemon of each.
    async fn run_on(&self, planned: &[Planned<'_>], counters: &[&Server]) -> anyhow::Result<Findings> {
        self.calm_down().await?;
        let (measurements, audited) = self.instruments.measure(planned, counters).await?;
        Ok(Findings { measurements, audited, ..Findings::default() })
    }

    async fn calm_down(&self) -> anyhow::Result<()> {
        if let Some(earlier) = &self.earlier {
            earlier.client.batch_execute("vacuum analyze").await?;
        }
        self.database.calm_down().await
    }

    /// Fills hours for the daemons, and checks their counts.
    async fn fill(&self, hours: &[FilledHour]) -> anyhow::Result<()> {
        self.fill_more(hours).await?;
        for daemon in self.daemons() {
            self.expect_counts(daemon, hours).await?;
        }
        Ok(())
    }

    /// The same for hours that need not be empty.
    async fn fill_more(&self, hours: &[FilledHour]) -> anyhow::Result<()> {
        fill::fill(self.database.store(), hours).await?;
        if let Some(earlier) = &self.earlier {
            fill::send(&earlier.daemon, hours).await?;
        }
        Ok(())
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

    fn contenders(&self) -> Vec<&Server> {
        [&self.ceiling, &self.textbook].into_iter().chain(self.daemons()).collect()
    }

    /// The present one, and the one of an earlier commit if there is one.
    fn daemons(&self) -> Vec<&Server> {
        std::iter::once(&self.daemon).chain(self.earlier.iter().map(|earlier| &earlier.daemon)).collect()
    }

    /// A load of the usual length and number of connections.
    fn load<'b>(&self, subject: Subject, server: &'b Server, traffic: Traffic) -> Planned<'b> {
        let seconds = self.plan.seconds;
        let counter = usize::from(server.name == Contender::Earlier);
        Planned { subject, servers: vec![server], traffic, connections: CONNECTIONS, seconds, counter }
    }

    /// The same for each daemon.
    fn loads<'b>(&'b self, subject: &Subject, traffic: Traffic) -> impl Iterator<Item = Planned<'b>> {
        self.daemons().into_iter().map(move |daemon| self.load(subject.clone(), daemon, traffic))
    }

    /// A load whose answers take long.
    fn slow_load<'b>(&self, subject: Subject, server: &'b Server, traffic: Traffic) -> Planned<'b> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let connections = u32::try_from(cores).unwrap_or(u32::MAX).max(FEW_CONNECTIONS);
        let seconds = self.plan.seconds.max(ENOUGH_SECONDS);
        Planned { connections, seconds, ..self.load(subject, server, traffic) }
    }
}

fn memory(after: Part, daemons: &[&Server]) -> Vec<Memory> {
    daemons.iter().map(|daemon| Memory { after, of: daemon.name, peak_mib: daemon.peak_memory_mib() }).collect()
}

/// The hour in which a part begins. To the daemon, an hour that has just ended is as good.
fn current_hour() -> Hour {
    Hour::containing(Timestamp::now())
}
