//! A daemon that stands still for a while, as with a machine that is paused or has no CPU time.

use std::time::{Duration, Instant};

use harness::Daemon;
use tokio::time::sleep;

use crate::{
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// Longer than a statement may take.
const FREEZE: Duration = Duration::from_secs(12);
/// How long the daemons get little CPU time, and how it is shared out.
const STARVATION: Duration = Duration::from_secs(4);
const RUNS: Duration = Duration::from_millis(5);
const STANDS: Duration = Duration::from_millis(95);

/// One of two daemons is stopped with SIGSTOP in the middle of its work, and goes on after every limit has passed;
/// the other one serves meanwhile. Then both run for a twentieth of the time.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("daemon stands still");
    let server = options.start_server().await?;
    let settling = ["--settle-after", "10ms"];
    let daemons =
        [options.start_daemon(server.url(), &settling).await, options.start_daemon(server.url(), &settling).await];
    let both = [daemons[0].url(), daemons[1].url()];
    let traffic = Traffic::start(options.seed, 0, 2 * options.clients, &Mix::usual(), &both);

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        for (frozen, other) in [(&daemons[0], &daemons[1]), (&daemons[1], &daemons[0])] {
            traffic.acknowledge(EVENTS_BETWEEN).await?;
            frozen.signal("STOP").await;
            // A proxy sends no more requests to one that does not answer.
            traffic.point_at(&[other.url()]);
            let frozen_at = Instant::now();
            traffic.acknowledge(EVENTS_BETWEEN).await?;
            sleep(FREEZE.saturating_sub(frozen_at.elapsed())).await;
            frozen.signal("CONT").await;
            traffic.point_at(&both);
            report.faults += 1;
        }
        starve(&daemons).await;
        report.faults += 1;
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let operations = traffic.stop().await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemons[0], &daemons[1]], &operations).await?;
    Ok(report)
}

async fn starve(daemons: &[Daemon]) {
    let began = Instant::now();
    while began.elapsed() < STARVATION {
        for (name, pause) in [("STOP", STANDS), ("CONT", RUNS)] {
            for daemon in daemons {
                daemon.signal(name).await;
            }
            sleep(pause).await;
        }
    }
}
