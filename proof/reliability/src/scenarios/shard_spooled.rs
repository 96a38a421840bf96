//! The server of one database of several is killed under a daemon with a spool.

use std::time::{Duration, Instant};

use harness::{Daemon, End};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use super::outage_spooled::wait_until_stored;
use crate::{
    options::Options,
    report::Report,
    traffic::{Mix, Traffic},
};

const EVENTS_SPOOLED: u64 = 100;

/// One server after the other is killed. The daemon keeps what is for its visitors in the spool of that shard, and stores
/// what is for others; it is killed in the outage, and while the spool empties. Every accepted event is stored exactly
/// once, in the shard of its visitor. Sources wait.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("a shard's server killed, with a spool");
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut servers = options.start_shards().await?;
    let shards = servers.shards().count();
    let dir = harness::server_dir();
    let spool = dir.path().join("spool").to_string_lossy().into_owned();
    let arguments = servers.arguments();
    let mut daemon = options.start_daemon_of_shards(&arguments, &["--spool", &spool]).await;
    let mix = Mix { has_spool: true, ..Mix::over(shards) };
    let traffic = Traffic::start(options.seed, 0, options.clients, &mix, &[daemon.url()]);
    let singles = Mix { has_spool: true, ..Mix::of_singles(shards) };
    let singles = Traffic::start(options.seed, 1, options.clients, &singles, &[daemon.url()]);
    let restart = async |daemon: Daemon| {
        daemon.kill().await;
        traffic.point_at(&[]);
        singles.point_at(&[]);
        let daemon = options.start_daemon_of_shards(&arguments, &["--spool", &spool]).await;
        traffic.point_at(&[daemon.url()]);
        singles.point_at(&[daemon.url()]);
        daemon
    };

    let began = Instant::now();
    let (mut outages, mut kills) = (0, 0);
    while outages == 0 || began.elapsed() < options.duration {
        let shard = outages % shards.get();
        singles.acknowledge_of(shard, EVENTS_SPOOLED).await?;
        servers.servers[shard].end(End::Kill).await?;
        outages += 1;
        report.crashes += 1;
        singles.spool(EVENTS_SPOOLED).await?;
        if rng.random_bool(0.5) {
            // It starts without one of its databases.
            daemon = restart(daemon).await;
            kills += 1;
            singles.spool(EVENTS_SPOOLED).await?;
        }
        servers.servers[shard].start_again().await?;
        if rng.random_bool(0.5) {
            sleep(Duration::from_millis(rng.random_range(0..60))).await;
            daemon = restart(daemon).await;
            kills += 1;
        }
        singles.acknowledge_of(shard, EVENTS_SPOOLED).await?;
    }
    report.faults += u64::try_from(outages)? + kills;
    report.notes.push(format!("the daemon was killed {kills} times"));

    let mut operations = traffic.stop().await?;
    operations.extend(singles.stop().await?);
    wait_until_stored(&daemon, shards).await?;
    report.audit_shards(servers.shards(), servers.urls(), &[&daemon], &operations).await?;
    report.promise(report.queued > 0, "nothing was spooled");
    Ok(report)
}
