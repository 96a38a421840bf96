//! Clients whose clocks are wrong.

use std::time::Instant;

use model::Timestamp;

use crate::{
    options::Options,
    report::Report,
    traffic::{Mix, Traffic},
};

const MILLIS_PER_DAY: i64 = 86_400_000;
/// How far clocks are off, in days. Each new day is a chunk or a partition, so there are few.
const DAYS_OFF: [i64; 8] = [-20 * 365, -365, -31, -1, 1, 31, 365, 20 * 365];
/// The number of acknowledged events between two restarts.
const EVENTS_BETWEEN: u64 = 300;

/// Half of all requests are for hours from 1970 to 9999, years and days away; with the daemon killed in between.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("clock jumps of clients");
    let server = options.start_server().await?;
    let settling = ["--settle-after", "10ms"];
    let mut daemon = options.start_daemon(server.url(), &settling).await;
    let mix = Mix { present: 0.5, others: wrong_clocks(), batch_events: 20, ..Mix::usual() };
    let traffic = Traffic::start(options.seed, 0, options.clients, &mix, &[daemon.url()]);

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        daemon.kill().await;
        traffic.point_at(&[]);
        report.faults += 1;
        daemon = options.start_daemon(server.url(), &settling).await;
        traffic.point_at(&[daemon.url()]);
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    Ok(report)
}

fn wrong_clocks() -> Vec<Timestamp> {
    let now = Timestamp::now().millis();
    let off = DAYS_OFF.iter().filter_map(|days| Timestamp::from_millis(now + days * MILLIS_PER_DAY).ok());
    [Timestamp::MIN, Timestamp::MAX].into_iter().chain(off).collect()
}
