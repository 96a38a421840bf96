//! `kill -9` of the daemon.

use std::time::Instant;

use crate::{
    options::Options,
    report::Report,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;

/// `kill -9` of the daemon under load, again and again: what was acknowledged survives it, and what was refused is
/// not stored.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("kill -9 of the daemon");
    let server = options.start_server().await?;
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

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    Ok(report)
}
