//! The database's disk, filled to the last byte.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    operation::Outcome,
    options::Options,
    report::Report,
    sabotage::Saboteur,
    small_disk::SmallDisk,
    traffic::{Mix, Traffic},
};

const NAME: &str = "disk full";
/// How long it may take until the daemon refuses events.
const PATIENCE: Duration = Duration::from_mins(1);
/// The number of refused events before the disk has space again.
const REFUSALS: u64 = 20;

/// The disk fills up under load: events are refused and none is lost; with space they are stored again. If PostgreSQL
/// ended, because it could not recover, the scenario starts it again, as an administrator would; the daemon needs no
/// help.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let dir = harness::server_dir();
    let disk = match SmallDisk::mount(dir.path()) {
        Ok(disk) => disk,
        Err(why) => return Ok(Report::skipped(NAME, format!("a small disk cannot be mounted here: {why}"))),
    };
    let mut report = Report::new(NAME);
    let mut server = options.start_server_in(dir).await?;
    Saboteur::connect(server.url()).await?.keep_log_small().await?;
    let daemon = options.start_daemon(server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    let mut started_again = 0;
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.acknowledge(200).await?;
        let refused = traffic.refused();
        let filled = Instant::now();
        // Every other time, the server's log finds no space, which ends the server.
        let log_too = Saboteur::connect(server.url()).await?;
        let hits_log = report.faults % 2 == 1;
        while traffic.refused() < refused + REFUSALS {
            anyhow::ensure!(filled.elapsed() < PATIENCE, "the disk is full, but events are stored");
            // The server may still free some space.
            disk.fill()?;
            if hits_log && log_too.begin_new_log_file().await.is_err() {
                report.crashes += 1;
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        report.faults += 1;
        disk.give_back()?;
        while let Err(error) = Saboteur::connect(server.url()).await {
            if !server.runs().await {
                server.start_again().await?;
                started_again += 1;
            }
            anyhow::ensure!(filled.elapsed() < 2 * PATIENCE, "the database does not come back: {error}");
            sleep(Duration::from_millis(20)).await;
        }
        traffic.acknowledge(200).await?;
    }
    let crashes = report.crashes;
    report
        .notes
        .push(format!("PostgreSQL crashed {crashes} times, and was started again by hand {started_again} times"));

    let operations = report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    let refused = operations.iter().any(|o| o.outcome() == Some(Outcome::Refused));
    report.promise(refused, "a full disk refused nothing");
    drop(server);
    drop(disk);
    Ok(report)
}
