//! A session that holds a snapshot, as a long `pg_dump` or a forgotten transaction does.

use crate::{
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events before the snapshot, at least while it is held, and after it.
const EVENTS: u64 = 500;
/// What batches change again and again.
const TABLES: [&str; 3] = ["hour_counts", "hour_users", "writers"];

/// No version of a row is removed for the whole time of the load. The notes say what that comes to.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("a snapshot held");
    let server = options.start_server().await?;
    let daemon = options.start_daemon(server.url(), &["--settle-after", "10ms"]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);
    traffic.acknowledge(EVENTS).await?;

    let holder = Saboteur::connect(server.url()).await?;
    holder.hold_snapshot().await?;
    report.faults += 1;
    tokio::time::sleep(options.duration).await;
    traffic.acknowledge(EVENTS).await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    for table in TABLES {
        report.notes.push(saboteur.bloat(table).await?);
    }
    drop(holder);
    traffic.acknowledge(EVENTS).await?;

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    Ok(report)
}
