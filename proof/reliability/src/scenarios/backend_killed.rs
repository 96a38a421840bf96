//! `kill -9` of one session's process, as the kernel does it when memory runs out.

use std::time::{Duration, Instant};

use harness::signal;

use crate::{
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// How long it may take until events are stored again.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(15);

/// The process of one of the daemon's sessions is killed under load. The server ends all the others and recovers from
/// its log, and the daemon connects again by itself.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("kill -9 of a backend");
    let server = options.start_server().await?;
    let daemon = options.start_daemon(server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    let mut slowest_recovery = Duration::ZERO;
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let Some(backend) = Saboteur::connect(server.url()).await?.any_backend().await? else { continue };
        let killed = Instant::now();
        signal(backend, "KILL").await?;
        report.faults += 1;
        report.crashes += 1;
        // Some commits may end before the others hear of it.
        Saboteur::connect_when_up(server.url()).await?;
        traffic.acknowledge(1).await?;
        slowest_recovery = slowest_recovery.max(killed.elapsed());
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    report.promise(
        slowest_recovery <= RECOVERY_PATIENCE,
        format_args!("nothing was stored for {slowest_recovery:?} after a backend was killed"),
    );
    report.notes.push(format!("stored again after {} ms at most", slowest_recovery.as_millis()));

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    Ok(report)
}
