//! A machine that loses its power.

use std::time::Instant;

use harness::{Daemon, End};
use model::ShardCount;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    forgetful_disk::ForgetfulDisk,
    options::Options,
    report::Report,
    sabotage::Saboteur,
    scenarios::outage_spooled::wait_until_stored,
    traffic::{Mix, Traffic},
};

const NAME: &str = "power lost";
/// The number of acknowledged or spooled events between two faults.
const EVENTS_BETWEEN: u64 = 200;

/// Database and spool are on a disk that forgets what was not synced. Under load the daemon ends, and the disk fails; then
/// the database ends too, and both are started on what the disk still holds. What was acknowledged or spooled is there,
/// and no event twice.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let dir = harness::server_dir();
    let disk = match ForgetfulDisk::mount(dir.path()) {
        Ok(disk) => disk,
        Err(why) => return Ok(Report::skipped(NAME, format!("such a disk cannot be mounted here: {why:#}"))),
    };
    let mut report = Report::new(NAME);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let spool = dir.path().join("spool").to_string_lossy().into_owned();
    let arguments = ["--spool", spool.as_str(), "--admin-listen", "127.0.0.1:0"];
    let mut server = options.start_server_in(dir).await?;
    let mut daemon = options.start_daemon(server.url(), &arguments).await;
    let mix = Mix { has_spool: true, ..Mix::usual() };
    let traffic = Traffic::start(options.seed, 0, options.clients, &mix, &[daemon.url()]);

    let began = Instant::now();
    let mut spooling = 0;
    while report.faults < 4 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        // At first once with the spool in use, and once without.
        if report.faults.is_multiple_of(2) || rng.random_bool(0.3) {
            server.end(End::Immediate).await?;
            traffic.spool(EVENTS_BETWEEN).await?;
            spooling += 1;
        }
        // A machine without power answers nobody. This one goes on for a moment, in which a sync may return as if it had
        // succeeded: Linux (jbd2_complete_transaction) takes a transaction that ended with the journal for a stored one.
        daemon.kill().await;
        disk.lose_power()?;
        traffic.point_at(&[]);
        // It may have ended by itself, since it cannot go on.
        let _ = server.end(End::PowerLost).await;
        report.faults += 1;
        report.crashes += 1;
        disk.regain_power()?;
        server.start_again().await?;
        daemon = options.start_daemon(server.url(), &arguments).await;
        traffic.point_at(&[daemon.url()]);
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    report.notes.push(format!("{spooling} times while events were spooled"));

    let operations = traffic.stop().await?;
    wait_until_stored(&daemon, ShardCount::ONE).await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    end(daemon, server, disk).await;
    Ok(report)
}

/// In the order that lets the disk go.
async fn end(daemon: Daemon, server: harness::PrivateServer, disk: ForgetfulDisk) {
    daemon.kill().await;
    drop(server);
    drop(disk);
}
