//! The server of one database of several is killed.

use std::time::{Duration, Instant};

use harness::End;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use super::shard_outages::{Outage, judge};
use crate::{
    options::Options,
    report::Report,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// The events of one shard that show that it stores again.
const FIRST_EVENTS: u64 = 10;
const SHORTEST_OUTAGE: Duration = Duration::from_millis(600);
const MOST_MORE: Duration = Duration::from_millis(900);
/// How long a session may go on with its statement after the server's main process is gone.
const LAST_STATEMENT: Duration = Duration::from_millis(300);
/// How long the daemon may take to store events of the shard again once its database answers.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(15);

/// `kill -9` and an immediate stop of one server after the other, under load: only its visitors are refused meanwhile, and
/// batches are completed when they are given again.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("a shard's server killed");
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut servers = options.start_shards().await?;
    let shards = servers.shards().count();
    let daemon = options.start_daemon_of_shards(&servers.arguments(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::over(shards), &[daemon.url()]);
    // Those of the others wait for the shard that is away, until all of them do.
    let singles = Traffic::start(options.seed, 1, options.clients, &Mix::of_singles(shards), &[daemon.url()]);

    let began = Instant::now();
    let (mut outages, mut recoveries) = (Vec::new(), Vec::new());
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let shard = usize::try_from(report.faults)? % shards.get();
        let end = if report.faults.is_multiple_of(2) { End::Kill } else { End::Immediate };
        let begins = Instant::now();
        servers.servers[shard].end(end).await?;
        let from = Instant::now() + LAST_STATEMENT;
        report.faults += 1;
        report.crashes += 1;
        sleep(SHORTEST_OUTAGE + MOST_MORE.mul_f64(rng.random())).await;
        let to = Instant::now();
        servers.servers[shard].start_again().await?;
        let answered = Instant::now();
        singles.acknowledge_of(shard, 1).await?;
        recoveries.push(answered.elapsed());
        singles.acknowledge_of(shard, FIRST_EVENTS).await?;
        outages.push(Outage { shard, begins, from, to, over: Instant::now() });
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    let slowest = recoveries.iter().max().copied().unwrap_or_default();
    report.promise(
        slowest <= RECOVERY_PATIENCE,
        format_args!("a shard stored nothing for {slowest:?} after its database was back"),
    );
    report.note_times("the shard stored again after its database answered", &recoveries);

    let mut operations = traffic.stop().await?;
    operations.extend(singles.stop().await?);
    judge(&mut report, &operations, shards, &outages);
    report.audit_shards(servers.shards(), servers.urls(), &[&daemon], &operations).await?;
    Ok(report)
}
