//! Stored rows for each second: `POST /analytics/batch` and `analytics-cli import` beside COPY by psql into the same
//! table.
//!
//! COPY writes only raw events, into empty hours. The daemon also counts its events, so each of its hours must have
//! the exact counts in the end.

use std::{path::Path, process::Stdio, time::Instant};

use anyhow::{Context, bail, ensure};
use model::{
    Hour,
    wire::{BATCH_PATH, NDJSON},
};
use tokio::{fs::File, process::Command, sync::Mutex, task::JoinSet};

use super::{Findings, Stage, memory};
use crate::{
    cpu::Meter,
    fill::{self, FilledHour, past_hour},
    measure::{Axis, Contender, Measurement, Sample, Subject},
    plan::Part,
    rows::Rows,
    servers::{Programs, Server},
    table,
};

pub(super) const ROWS: u32 = 1_000_000;
/// Twice as many clients as the daemon merges batches into one commit, so that the next ones are there when a commit
/// ends.
pub(super) const CLIENTS: u32 = 8;
/// 2021 and later, a day for each round.
const FIRST_HOUR: u32 = 366 * 24;

/// What the clients of the batches are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clients {
    /// They send batches without a source.
    Unnamed,
    /// Each is a source of its own. Several shards refuse batches without a source or a key.
    Sources,
}

/// The hours of a round, one for each of its loads.
pub(super) fn hours(round: u32) -> impl Iterator<Item = Hour> {
    (FIRST_HOUR + round * 24..).map(past_hour)
}

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    // A daemon of its own: the memory for batches is another promise than that for single events.
    let daemon = stage.programs.daemon(stage.database.url()).await?;
    let mut contenders = vec![Contender::Copy, Contender::Daemon, Contender::ImportWithoutSource, Contender::Import];
    let earlier = match &stage.earlier {
        Some(earlier) => Some((earlier, earlier.programs.daemon(&earlier.url).await?)),
        None => None,
    };
    if earlier.is_some() {
        contenders.extend([Contender::Earlier, Contender::EarlierImportWithoutSource, Contender::EarlierImport]);
    }
    let mut measurements = Vec::new();
    for &users in &stage.plan.sizes.row_users {
        let subject = Subject::new(Part::Rows, "rows", Axis::Users, users);
        measurements.extend(contenders.iter().map(|&contender| Measurement {
            subject: subject.clone(),
            contender,
            connections: if contender.is_daemon() { CLIENTS } else { 1 },
            rounds: Vec::new(),
        }));
    }
    for round in 1..=stage.plan.rounds {
        for (hour, measurement) in hours(round).zip(&mut measurements) {
            eprintln!("round {round} of {}: {}, {}", stage.plan.rounds, measurement.subject, measurement.contender);
            let rows = Rows { hour, count: ROWS, users: u32::try_from(measurement.subject.size)? };
            let contender = measurement.contender;
            let (programs, daemon) = if let (Some((earlier, daemon)), Some(_)) = (&earlier, contender.present()) {
                make_room_through(daemon, rows.hour).await?;
                (earlier.programs, daemon)
            } else {
                table::make_room(stage.database.client(), rows.hour).await?;
                (stage.programs, &daemon)
            };
            // The vacuum and the checkpoint for one contender must not slow down the next one.
            stage.calm_down().await?;
            measurement.rounds.push(store(stage, programs, daemon, contender, Clients::Unnamed, rows).await?);
        }
    }
    let daemons: Vec<&Server> = std::iter::once(&daemon).chain(earlier.iter().map(|(_, daemon)| daemon)).collect();
    let memory = memory(Part::Rows, &daemons);
    Ok(Findings { measurements, memory, ..Findings::default() })
}

/// Makes the partition of the hour's day by an event in its last hour, which no load uses.
async fn make_room_through(daemon: &Server, hour: Hour) -> anyhow::Result<()> {
    let hours = std::iter::successors(Some(hour), |hour| hour.next());
    let last = hours.take(24).find(|hour| hour.to_string().contains("T23:")).context("a day has 24 hours")?;
    fill::send(daemon, &[FilledHour { hour: last, events: 1, users: 1 }]).await
}

/// Stores the rows, and checks that they are stored.
pub(super) async fn store(
    stage: &Stage<'_>,
    programs: &Programs,
    daemon: &Server,
    contender: Contender,
    clients: Clients,
    rows: Rows,
) -> anyhow::Result<Sample> {
    let meter = Meter::new(daemon.pid().into_iter().collect(), stage.instruments.postmaster);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("rows");
    let prepared = match contender {
        Contender::Copy => {
            std::fs::write(&file, rows.copy_text())?;
            Prepared::Command(copy(stage.database.url(), File::open(&file).await?.into_std().await)?)
        }
        Contender::Import | Contender::EarlierImport => Prepared::import(programs, &file, daemon, rows, true)?,
        Contender::ImportWithoutSource | Contender::EarlierImportWithoutSource => {
            Prepared::import(programs, &file, daemon, rows, false)?
        }
        _ => Prepared::Batches(rows.batches().into_iter().map(Batch::of).collect()),
    };

    let before = meter.read();
    let began = Instant::now();
    match prepared {
        Prepared::Command(command) => run(command).await?,
        Prepared::Batches(batches) => send(batches, daemon, clients, rows.hour).await?,
    }
    let seconds = began.elapsed().as_secs_f64();
    let after = meter.read();

    let stored = if contender == Contender::Copy {
        table::raw_counts(stage.database.client(), rows.hour).await?
    } else {
        daemon.counts(rows.hour).await?
    };
    ensure!(stored == rows.counts(), "{contender} stored {stored:?} instead of {:?}", rows.counts());
    Ok(Sample {
        count: ROWS.into(),
        per_second: f64::from(ROWS) / seconds,
        latency: None,
        cpu: after.zip(before).map(|(after, before)| after.since(before, ROWS.into())),
    })
}

enum Prepared {
    Command(Command),
    Batches(Vec<Batch>),
}

impl Prepared {
    fn import(programs: &Programs, file: &Path, daemon: &Server, rows: Rows, is_source: bool) -> anyhow::Result<Self> {
        std::fs::write(file, rows.batches().concat())?;
        Ok(Self::Command(programs.import(file, daemon, is_source)))
    }
}

struct Batch {
    rows: u64,
    body: Vec<u8>,
}

impl Batch {
    fn of(body: Vec<u8>) -> Self {
        // Each row ends with a line break.
        Self { rows: body.split(|&byte| byte == b'\n').count() as u64 - 1, body }
    }
}

/// Each load of a counter has an hour of its own, and so sources of its own.
fn source(hour: Hour, client: u32) -> String {
    format!("bench-{}-{client}", hour.start().millis())
}

async fn run(mut command: Command) -> anyhow::Result<()> {
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).output().await?;
    if !output.status.success() {
        bail!("it failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Several clients send the batches, each the next one after its answer.
async fn send(batches: Vec<Batch>, daemon: &Server, clients: Clients, hour: Hour) -> anyhow::Result<()> {
    let url = format!("{}{BATCH_PATH}", daemon.url());
    let http = reqwest::Client::new();
    let batches = std::sync::Arc::new(Mutex::new(batches));
    let mut sending = JoinSet::new();
    for client in 1..=CLIENTS {
        let (url, http, batches) = (url.clone(), http.clone(), batches.clone());
        let source = (clients == Clients::Sources).then(|| source(hour, client));
        sending.spawn(async move {
            let mut sent = 0;
            loop {
                let Some(Batch { rows, body }) = batches.lock().await.pop() else { return anyhow::Ok(()) };
                let part = source.as_ref().map(|source| format!("?source={source}&from={sent}&to={}", sent + rows));
                sent += rows;
                let request = http.post(format!("{url}{}", part.unwrap_or_default())).header("content-type", NDJSON);
                let answer = request.body(body).send().await?;
                if answer.status() != reqwest::StatusCode::NO_CONTENT {
                    bail!("a batch was answered {}: {}", answer.status(), answer.text().await?);
                }
            }
        });
    }
    while let Some(client) = sending.join_next().await {
        client.context("a client of the batches failed")??;
    }
    Ok(())
}

/// The environment has the connection, since other users of the machine can read command lines.
fn copy(url: &str, file: std::fs::File) -> anyhow::Result<Command> {
    use tokio_postgres::config::{Config, Host};

    let config: Config = url.parse()?;
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", table::COPY_EVENTS]).stdin(file);
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => command.env("PGHOST", host),
        Some(Host::Unix(dir)) => command.env("PGHOST", dir),
        None => &mut command,
    };
    if let Some(port) = config.get_ports().first() {
        command.env("PGPORT", port.to_string());
    }
    if let Some(password) = config.get_password() {
        command.env("PGPASSWORD", String::from_utf8_lossy(password).as_ref());
    }
    for (name, value) in [("PGUSER", config.get_user()), ("PGDATABASE", config.get_dbname())] {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use model::wire::MAX_BATCH_EVENTS;

    use super::{Batch, hours};
    use crate::rows::Rows;

    #[test]
    fn a_batch_knows_how_many_rows_it_moves_its_source_by() {
        let hour = hours(1).next().unwrap();
        let batches = Rows { hour, count: 10_007, users: 10 }.batches();
        let rows: Vec<u64> = batches.into_iter().map(|body| Batch::of(body).rows).collect();
        assert_eq!(rows, [MAX_BATCH_EVENTS as u64, 7]);
    }
}
