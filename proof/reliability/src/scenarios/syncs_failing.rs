//! A database whose disk fails to sync.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    options::Options,
    report::Report,
    sabotage::Saboteur,
    tracer::{Sync, Tracer},
    traffic::{Mix, Traffic},
};

const NAME: &str = "failing fsync of the database";
/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// How long it may take until the server has crashed.
const PATIENCE: Duration = Duration::from_mins(1);

/// The sync of a commit fails, and then that of a checkpoint. Each time the server crashes on purpose, since it cannot
/// know what its disk holds, and recovers by itself. Commits under way may turn out to be stored.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    if let Err(why) = Tracer::try_out().await {
        return Ok(Report::skipped(NAME, format!("strace cannot trace processes here: {why:#}")));
    }
    let mut report = Report::new(NAME);
    let server = options.start_server().await?;
    let daemon = options.start_daemon(server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let saboteur = Saboteur::connect(server.url()).await?;
        let before = saboteur.checkpointer().await?;
        if report.faults.is_multiple_of(2) {
            let failing = Tracer::attach(&saboteur.daemons_processes().await?, Sync::Fails).await?;
            wait_for_crash(server.url(), before).await?;
            failing.detach().await?;
        } else {
            let failing = Tracer::attach(&[before], Sync::Fails).await?;
            anyhow::ensure!(saboteur.checkpoint().await.is_err(), "a checkpoint succeeded without a sync");
            wait_for_crash(server.url(), before).await?;
            failing.detach().await?;
        }
        report.faults += 1;
        report.crashes += 1;
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    Ok(report)
}

/// Each recovery starts another checkpointer.
async fn wait_for_crash(url: &str, checkpointer: u32) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        // The connection may end at any moment.
        let now = async { Saboteur::connect_when_up(url).await?.checkpointer().await };
        if now.await.is_ok_and(|now| now != checkpointer) {
            return Ok(());
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "the server lives on, though a sync failed");
        sleep(Duration::from_millis(20)).await;
    }
}
