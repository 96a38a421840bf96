//! A database that is restored to an earlier state.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::ensure;
use harness::{End, Kafka, PrivateServer};
use tokio::process::Command;

use crate::{
    options::Options,
    report::Report,
    topic_traffic::{Counts, TopicTraffic},
};

const NAME: &str = "database restored to an earlier state";
/// The number of stored messages before a copy of the database is taken, and between that and its return.
const MESSAGES_BETWEEN: u64 = 500;

/// A copy of the database is taken under load. Later the database crashes, and the copy takes its place, while the daemon
/// runs: it reads the topic again from where the copy stands. At last nothing is sent any more when that happens.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let Some(kafka) = Kafka::start().await else {
        return Ok(Report::skipped(NAME, "no broker is installed"));
    };
    let mut report = Report::new(NAME);
    let mut server = options.start_server().await?;
    let mut traffic = TopicTraffic::start(options, &kafka, Counts::Fall).await?;
    let daemon = traffic.start_daemon(options, server.url()).await;

    let began = Instant::now();
    let mut recoveries = Vec::new();
    let mut is_last = false;
    while !is_last {
        is_last = report.faults > 0 && began.elapsed() > options.duration;
        traffic.store(server.url(), MESSAGES_BETWEEN).await?;
        let copy = copy(options, &server).await?;
        traffic.store(server.url(), MESSAGES_BETWEEN).await?;
        if is_last {
            traffic.stop_sending().await?;
            traffic.store_all(server.url()).await?;
        }
        server.end(End::Immediate).await?;
        report.crashes += 1;
        report.faults += 1;
        tokio::fs::remove_dir_all(data(&server)).await?;
        tokio::fs::rename(&copy, data(&server)).await?;
        server.start_again().await?;
        let answered = Instant::now();
        if !is_last {
            traffic.store_all(server.url()).await?;
            recoveries.push(answered.elapsed());
        }
    }
    report.note_times("all was stored again after the restored database answered", &recoveries);
    traffic.stop_and_audit(&mut report, &server, &[&daemon]).await?;
    Ok(report)
}

fn data(server: &PrivateServer) -> PathBuf {
    server.dir().join("native/data")
}

/// As a backup makes one of a server that runs.
async fn copy(options: &Options, server: &PrivateServer) -> anyhow::Result<PathBuf> {
    let (data, copy) = (data(server), server.dir().join("native/copy"));
    let mut backup = Command::new(options.programs()?.path("pg_basebackup"));
    backup.args(["--checkpoint", "fast", "--no-sync", "--dbname", server.url(), "--pgdata"]).arg(&copy);
    run_program(&mut backup).await?;
    run_program(Command::new("chown").arg("--recursive").arg(reference(&data)).arg(&copy)).await?;
    Ok(copy)
}

/// The owner of the other folder, as an option of `chown`.
fn reference(other: &Path) -> String {
    format!("--reference={}", other.display())
}

async fn run_program(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
