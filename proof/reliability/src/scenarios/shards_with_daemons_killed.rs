//! `kill -9` of the daemon of several databases.

use std::time::Instant;

use crate::{
    options::Options,
    report::Report,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;

/// The same as for one database, but half of all writes are batches, whose parts are commits of several databases when
/// the daemon dies. Clients give them again, and each event of them counts once.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("kill -9 of the daemon of several shards");
    let servers = options.start_shards().await?;
    let mix = Mix { batches: 0.5, ..Mix::over(servers.shards().count()) };
    let mut daemon = options.start_daemon_of_shards(&servers.arguments(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &mix, &[daemon.url()]);

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        daemon.kill().await;
        traffic.point_at(&[]);
        report.faults += 1;
        daemon = options.start_daemon_of_shards(&servers.arguments(), &[]).await;
        traffic.point_at(&[daemon.url()]);
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let operations = traffic.stop().await?;
    report.audit_shards(servers.shards(), servers.urls(), &[&daemon], &operations).await?;
    Ok(report)
}
