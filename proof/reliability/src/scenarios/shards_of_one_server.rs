//! Several databases of one server, which is killed.

use std::time::{Duration, Instant};

use harness::{End, ShardServers};
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
const LONGEST_OUTAGE: Duration = Duration::from_secs(1);

/// All databases of a counter crash at once, under load, with parts of batches committed in some of them.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("the server of all shards killed");
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut servers = ShardServers::start_on_one(options.shards, options.postgres_bin.clone()).await?;
    let mix = Mix::over(servers.shards().count());
    let daemon = options.start_daemon_of_shards(&servers.arguments(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &mix, &[daemon.url()]);

    let began = Instant::now();
    let mut recoveries = Vec::new();
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let end = if report.faults.is_multiple_of(2) { End::Kill } else { End::Immediate };
        servers.servers[0].end(end).await?;
        report.faults += 1;
        report.crashes += 1;
        sleep(LONGEST_OUTAGE.mul_f64(rng.random())).await;
        servers.servers[0].start_again().await?;
        let answered = Instant::now();
        for shard in 0..options.shards {
            traffic.acknowledge_of(shard, 1).await?;
        }
        recoveries.push(answered.elapsed());
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    report.note_times("every shard stored again after the server answered", &recoveries);

    let operations = traffic.stop().await?;
    report.audit_shards(servers.shards(), servers.urls(), &[&daemon], &operations).await?;
    Ok(report)
}
