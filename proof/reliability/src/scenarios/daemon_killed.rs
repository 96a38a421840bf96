//! `kill -9` of the daemon.

use std::time::Instant;

use crate::{
    options::Options,
    postgres::Server,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// How many events are acknowledged between two kills.
const EVENTS_BETWEEN: u64 = 200;

/// `kill -9` of the daemon under load, again and again: what was acknowledged survives it, and what was refused is not stored.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("kill -9 of the daemon");
    let server = Server::start(options).await?;
    let mut daemon = options.start_daemon(server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        daemon.kill().await;
        traffic.point_at(&[]);
        report.faults += 1;
        daemon = options.start_daemon(server.url(), &[]).await;
        traffic.point_at(&[daemon.url()]);
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let operations = traffic.stop().await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    Ok(report)
}
