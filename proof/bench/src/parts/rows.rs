//! Stored rows for each second: `POST /analytics/batch` and `analytics-cli import` beside COPY by psql into the same
//! table.
//!
//! COPY writes only raw events, into empty hours. The daemon also counts its events, so each of its hours must have
//! the exact counts in the end.

use std::{process::Stdio, time::Instant};

use anyhow::{Context, bail, ensure};
use model::wire::{BATCH_PATH, NDJSON};
use tokio::{fs::File, process::Command, sync::Mutex, task::JoinSet};

use super::{Findings, Stage};
use crate::{
    cpu::Meter,
    fill::past_hour,
    measure::{Axis, Contender, Measurement, Sample, Subject},
    memory::Memory,
    plan::Part,
    rows::Rows,
    servers::Server,
    table,
};

const ROWS: u32 = 1_000_000;
/// Twice as many clients as the daemon merges batches into one commit, so that the next ones are there when a commit
/// ends.
const CLIENTS: u32 = 8;
/// 2021 and later, a day for each round.
const FIRST_HOUR: u32 = 366 * 24;

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    // A daemon of its own: the memory for batches is another promise than that for single events.
    let daemon = stage.programs.daemon(&stage.served).await?;
    let contenders = [Contender::Copy, Contender::Daemon, Contender::ImportWithoutSource, Contender::Import];
    let mut measurements = Vec::new();
    for &users in &stage.plan.sizes.row_users {
        let subject = Subject::new(Part::Rows, "rows", Axis::Users, users);
        measurements.extend(contenders.map(|contender| Measurement {
            subject: subject.clone(),
            contender,
            connections: if contender == Contender::Daemon { CLIENTS } else { 1 },
            rounds: Vec::new(),
        }));
    }
    for round in 1..=stage.plan.rounds {
        for (hour, measurement) in (FIRST_HOUR + round * 24..).zip(&mut measurements) {
            eprintln!("round {round} of {}: {}, {}", stage.plan.rounds, measurement.subject, measurement.contender);
            let rows = Rows { hour: past_hour(hour), count: ROWS, users: u32::try_from(measurement.subject.size)? };
            table::make_room(stage.database.client(), rows.hour).await?;
            // The vacuum and the checkpoint for one contender must not slow down the next one.
            stage.database.calm_down().await?;
            measurement.rounds.push(store(stage, &daemon, measurement.contender, rows).await?);
        }
    }
    let memory = vec![Memory { after: Part::Rows, peak_mib: daemon.peak_memory_mib() }];
    Ok(Findings { measurements, memory, ..Findings::default() })
}

/// Stores the rows, and checks that they are stored.
async fn store(stage: &Stage<'_>, daemon: &Server, contender: Contender, rows: Rows) -> anyhow::Result<Sample> {
    let meter = Meter::new(daemon.pid().into_iter().collect(), stage.instruments.postmaster);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("rows");
    let prepared = match contender {
        Contender::Copy => {
            std::fs::write(&file, rows.copy_text())?;
            Prepared::Command(copy(stage.served.url, File::open(&file).await?.into_std().await)?)
        }
        Contender::Import | Contender::ImportWithoutSource => {
            std::fs::write(&file, rows.batches().concat())?;
            Prepared::Command(stage.programs.import(&file, daemon, contender == Contender::Import))
        }
        _ => Prepared::Batches(rows.batches()),
    };

    let before = meter.read();
    let began = Instant::now();
    match prepared {
        Prepared::Command(command) => run(command).await?,
        Prepared::Batches(batches) => send(batches, daemon).await?,
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
    Batches(Vec<Vec<u8>>),
}

async fn run(mut command: Command) -> anyhow::Result<()> {
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).output().await?;
    if !output.status.success() {
        bail!("it failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Several clients send the batches, each the next one after its answer.
async fn send(batches: Vec<Vec<u8>>, daemon: &Server) -> anyhow::Result<()> {
    let url = format!("{}{BATCH_PATH}", daemon.url());
    let http = reqwest::Client::new();
    let batches = std::sync::Arc::new(Mutex::new(batches));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (url, http, batches) = (url.clone(), http.clone(), batches.clone());
        clients.spawn(async move {
            loop {
                let Some(batch) = batches.lock().await.pop() else { return anyhow::Ok(()) };
                let answer = http.post(&url).header("content-type", NDJSON).body(batch).send().await?;
                if answer.status() != reqwest::StatusCode::NO_CONTENT {
                    bail!("a batch was answered {}: {}", answer.status(), answer.text().await?);
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
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
