//! `pg_repack`, which puts a copy in place of a table.

use std::{process::Stdio, time::Instant};

use anyhow::{Context, ensure};
use harness::PrivateServer;
use tokio::process::Command;

use crate::{
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

const NAME: &str = "pg_repack";
/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// Those with a primary key. Without one, as events are, `pg_repack` refuses a table.
const TABLES: [&str; 5] = ["hour_counts", "hour_users", "settled_hours", "writers", "event_keys"];

/// Each table is repacked under load, while hours are settled and reopened.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let programs = options.programs()?;
    let program = programs.path("pg_repack");
    if !program.is_file() {
        return Ok(Report::skipped(NAME, format!("{} is not installed", program.display())));
    }
    let mut report = Report::new(NAME);
    let server = options.start_server().await?;
    Saboteur::connect(server.url()).await?.make_repack().await?;
    let daemon = options.start_daemon(server.url(), &["--settle-after", "10ms"]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        for table in TABLES {
            traffic.acknowledge(EVENTS_BETWEEN).await?;
            let mut repack = Command::new(&program);
            repack.args(address(&server)?).args(["--no-order", "--table", &format!("analytics.{table}")]);
            let output = repack.stdin(Stdio::null()).output().await?;
            ensure!(output.status.success(), "{table}: {}", String::from_utf8_lossy(&output.stderr));
            report.faults += 1;
        }
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    Ok(report)
}

/// As arguments of PostgreSQL's programs.
fn address(server: &PrivateServer) -> anyhow::Result<[String; 4]> {
    let socket = server.socket();
    let port = socket.extension().context("a socket's name ends with its port")?.display().to_string();
    let folder = socket.parent().context("a socket lies in a folder")?.display().to_string();
    let config: tokio_postgres::Config = server.url().parse()?;
    let (user, database) = (config.get_user().unwrap_or_default(), config.get_dbname().unwrap_or_default());
    Ok([("host", folder), ("port", port), ("username", user.into()), ("dbname", database.into())]
        .map(|(name, value): (&str, String)| format!("--{name}={value}")))
}
