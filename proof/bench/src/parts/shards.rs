//! POST, GET, batches and import by the number of databases that hold the counter, all on the server of the run.
//!
//! For each number there is a counter of its own with one daemon. All of them run during the whole part, and the loads
//! take turns. The daemon with a single database runs as it does without shards.

use db::{Connected, Shards, Store};
use futures_util::future::try_join_all;
use model::Hour;

use super::{
    CONNECTIONS, Findings, MANY_CONNECTIONS, Stage, current_hour,
    rows::{self, CLIENTS, Clients, ROWS},
};
use crate::{
    database::store_options,
    fill::USERS,
    interleave::Planned,
    measure::{Axis, Contender, Measurement, Subject},
    plan::Part,
    rows::Rows,
    servers::Server,
    table,
    wrk::Traffic,
};

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let mut counters = Vec::new();
    for &shards in &stage.plan.sizes.shards {
        counters.push(Counter::start(stage, shards).await?);
    }
    try_join_all(counters.iter().map(Counter::calm_down)).await?;
    let daemons: Vec<&Server> = counters.iter().map(|counter| &counter.daemon).collect();
    let mut found = stage.run_on(&single_events(stage, &counters), &daemons).await?;
    try_join_all(counters.iter().map(Counter::calm_down)).await?;
    found.measurements.extend(stored_rows(stage, &counters).await?);
    Ok(found)
}

/// So many databases, and the daemon on them.
struct Counter {
    shards: u32,
    /// One to each database.
    clients: Vec<Connected>,
    daemon: Server,
}

impl Counter {
    async fn start(stage: &Stage<'_>, shards: u32) -> anyhow::Result<Self> {
        let mut urls = Vec::new();
        for shard in 0..shards {
            urls.push(stage.database.make_beside(&format!("{shard}_of_{shards}")).await?);
        }
        let stores = Shards::new(&urls, &store_options())?;
        stores.migrate(None, None).await?;
        let clients = try_join_all(stores.iter().map(Store::plain_client)).await?;
        Ok(Self { shards, clients, daemon: stage.programs.daemon_of_shards(&urls).await? })
    }

    fn subject(&self, question: &str) -> Subject {
        Subject::new(Part::Shards, question, Axis::Shards, self.shards)
    }

    /// The maintenance of its databases must not slow down the next load.
    async fn calm_down(&self) -> anyhow::Result<()> {
        for client in &self.clients {
            client.batch_execute("vacuum analyze").await?;
        }
        Ok(())
    }

    async fn make_room(&self, hour: Hour) -> anyhow::Result<()> {
        for client in &self.clients {
            table::make_room(client, hour).await?;
        }
        Ok(())
    }
}

/// POSTs come first, so that the hour holds visitors of every shard when it is read.
fn single_events<'a>(stage: &'a Stage<'_>, counters: &'a [Counter]) -> Vec<Planned<'a>> {
    let current = current_hour();
    let mut planned = Vec::new();
    for (method, traffic) in [("POST", Traffic::posts(current, USERS)), ("GET", Traffic::gets(current))] {
        for connections in [CONNECTIONS, MANY_CONNECTIONS] {
            for (place, counter) in counters.iter().enumerate() {
                let subject = counter.subject(&format!("{method}, {connections} connections"));
                let load = stage.load(subject, &counter.daemon, traffic);
                planned.push(Planned { connections, counter: place, ..load });
            }
        }
    }
    planned
}

async fn stored_rows(stage: &Stage<'_>, counters: &[Counter]) -> anyhow::Result<Vec<Measurement>> {
    let mut measurements = Vec::new();
    let ways = [("batches", Contender::Daemon, CLIENTS), ("import", Contender::Import, 1)];
    for (question, contender, connections) in ways {
        let of = |counter: &Counter| Measurement {
            subject: counter.subject(question),
            contender,
            connections,
            rounds: Vec::new(),
        };
        measurements.extend(counters.iter().map(of));
    }
    for round in 1..=stage.plan.rounds {
        let loads = measurements.iter_mut().zip(counters.iter().cycle());
        for (hour, (measurement, counter)) in rows::hours(round).zip(loads) {
            let contender = measurement.contender;
            eprintln!("round {round} of {}: {}, {contender}", stage.plan.rounds, measurement.subject);
            let rows = Rows { hour, count: ROWS, users: USERS };
            counter.make_room(hour).await?;
            stage.database.calm_down().await?;
            let sample = rows::store(stage, stage.programs, &counter.daemon, contender, Clients::Sources, rows).await?;
            measurement.rounds.push(sample);
            counter.calm_down().await?;
        }
    }
    Ok(measurements)
}
