//! Outages with a spool.

use std::time::{Duration, Instant};

use anyhow::bail;
use harness::{Daemon, End};
use model::ShardCount;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    report::{Report, of_shard},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

const EVENTS_SPOOLED: u64 = 300;
/// How long the spool may take to empty once the database answers.
const REPLAY_PATIENCE: Duration = Duration::from_mins(1);

/// The database crashes under load. A daemon with a spool continues to accept events, and is killed: in the outage,
/// and while it replays its spool. Every accepted event is stored exactly once.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("outage with a spool");
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut server = options.start_server().await?;
    let dir = harness::server_dir();
    let spool = dir.path().join("spool");
    let spool = spool.to_string_lossy();
    let arguments = ["--spool", &spool, "--admin-listen", "127.0.0.1:0"];
    let mut daemon = options.start_daemon(server.url(), &arguments).await;
    let mix = Mix { has_spool: true, ..Mix::usual() };
    let traffic = Traffic::start(options.seed, 0, options.clients, &mix, &[daemon.url()]);

    let began = Instant::now();
    let mut kills = 0;
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_SPOOLED / 3).await?;
        server.end(End::Immediate).await?;
        report.faults += 1;
        report.crashes += 1;
        traffic.spool(EVENTS_SPOOLED).await?;
        if rng.random_bool(0.5) {
            // It starts without a database.
            daemon = restarted(daemon, &traffic, options, server.url(), &arguments).await;
            kills += 1;
            traffic.spool(EVENTS_SPOOLED / 3).await?;
        }
        server.start_again().await?;
        if rng.random_bool(0.7) {
            sleep(Duration::from_millis(rng.random_range(0..60))).await;
            daemon = restarted(daemon, &traffic, options, server.url(), &arguments).await;
            kills += 1;
        }
    }
    traffic.acknowledge(EVENTS_SPOOLED / 3).await?;
    report.faults += kills;
    report.notes.push(format!("the daemon was killed {kills} times"));

    let operations = traffic.stop().await?;
    wait_until_stored(&daemon, ShardCount::ONE).await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    report.promise(report.queued > 0, "nothing was spooled");
    Ok(report)
}

async fn restarted(daemon: Daemon, traffic: &Traffic, options: &Options, url: &str, arguments: &[&str]) -> Daemon {
    daemon.kill().await;
    traffic.point_at(&[]);
    let daemon = options.start_daemon(url, arguments).await;
    traffic.point_at(&[daemon.url()]);
    daemon
}

/// Waits until the spool of every shard is empty.
pub(super) async fn wait_until_stored(daemon: &Daemon, shards: ShardCount) -> anyhow::Result<()> {
    let began = Instant::now();
    for shard in 0..shards.get() {
        while daemon.metric(&of_shard("analyticsd_spooled_requests", shard, shards)).await != Some(0.0) {
            if began.elapsed() > REPLAY_PATIENCE {
                bail!(
                    "the spool of shard {shard} still holds requests {REPLAY_PATIENCE:?} after its database was back"
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}
