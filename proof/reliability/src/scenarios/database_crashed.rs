//! Crashes of the database.

use std::time::{Duration, Instant};

use harness::End;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    report::Report,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// The longest outage.
const LONGEST_OUTAGE: Duration = Duration::from_millis(1_500);
/// How long the daemon may take to store events again once the database answers.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(15);

/// `pg_ctl stop -m immediate` and `kill -9` of the database in turn, under load: it recovers, and the daemon connects
/// again by itself.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("crash of the database");
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut server = options.start_server().await?;
    let daemon = options.start_daemon(server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    let mut slowest_recovery = Duration::ZERO;
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        server.end(if report.faults.is_multiple_of(2) { End::Immediate } else { End::Kill }).await?;
        report.faults += 1;
        report.crashes += 1;
        sleep(LONGEST_OUTAGE.mul_f64(rng.random())).await;
        server.start_again().await?;
        let answered = Instant::now();
        traffic.acknowledge(1).await?;
        slowest_recovery = slowest_recovery.max(answered.elapsed());
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    report.promise(
        slowest_recovery <= RECOVERY_PATIENCE,
        format_args!("the daemon stored nothing for {slowest_recovery:?} after the database was back"),
    );
    report.notes.push(format!("stored again {} ms after the database answered, at most", slowest_recovery.as_millis()));

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    Ok(report)
}
