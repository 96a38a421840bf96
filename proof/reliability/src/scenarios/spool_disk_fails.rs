//! A spool on a disk that fails to write.

use std::time::{Duration, Instant};

use model::ShardCount;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    failing_disk::FailingDisk,
    options::Options,
    report::Report,
    sabotage::Saboteur,
    scenarios::outage_spooled::wait_until_stored,
    tracer::{Sync, Tracer},
    traffic::{Mix, Traffic},
};

const NAME: &str = "the spool's disk fails";
/// The number of events between two steps.
const EVENTS_BETWEEN: u64 = 2_000;
/// The number of events that get no promise before the disk is well again.
const FAILURES: u64 = 4_000;
const SLOW: Duration = Duration::from_millis(100);

/// While the database is away, the disk under the spool fails to write, and then is well again. The kernel forgets what
/// it could not write, so the daemon must write that again before it promises anything. Then the daemon is killed, and
/// the next one sees only what is on the disk.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let dir = harness::server_dir();
    let disk = match FailingDisk::mount(dir.path()) {
        Ok(disk) => disk,
        Err(why) => return Ok(Report::skipped(NAME, format!("such a disk cannot be mounted here: {why:#}"))),
    };
    let mut report = Report::new(NAME);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let spool = dir.path().join("spool").to_string_lossy().into_owned();
    let arguments = ["--spool", spool.as_str(), "--admin-listen", "127.0.0.1:0"];
    let mut server = options.start_server().await?;
    let mut daemon = options.start_daemon(server.url(), &arguments).await;
    // A large record fills pages of its own, which no later record writes again.
    let mix = Mix { has_spool: true, batches: 0.5, batch_events: 500, ..Mix::usual() };
    let traffic = Traffic::start(options.seed, 0, options.clients, &mix, &[daemon.url()]);
    let traces = Tracer::try_out().await.is_ok();

    let began = Instant::now();
    let mut round = 0;
    while round < 2 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        server.end(harness::End::Immediate).await?;
        report.crashes += 1;
        traffic.spool(EVENTS_BETWEEN).await?;
        if traces && rng.random_bool(0.5) {
            let slow = Tracer::attach(&[daemon.pid()], Sync::Slow(SLOW)).await?;
            traffic.spool(EVENTS_BETWEEN).await?;
            slow.detach().await?;
            report.faults += 1;
        }
        disk.fail()?;
        traffic.leave_unpromised(FAILURES).await?;
        // Every other time, another daemon meets what this one could not write.
        if round % 2 == 1 {
            daemon.kill().await;
            traffic.point_at(&[]);
            disk.heal()?;
            daemon = options.start_daemon(server.url(), &arguments).await;
            traffic.point_at(&[daemon.url()]);
        } else {
            disk.heal()?;
        }
        report.faults += 1;
        traffic.spool(EVENTS_BETWEEN).await?;
        daemon.kill().await;
        traffic.point_at(&[]);
        disk.forget()?;
        server.start_again().await?;
        daemon = options.start_daemon(server.url(), &arguments).await;
        traffic.point_at(&[daemon.url()]);
        round += 1;
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let operations = traffic.stop().await?;
    wait_until_stored(&daemon, ShardCount::ONE).await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    daemon.kill().await;
    drop(disk);
    Ok(report)
}
