//! The way to one database of several carries nothing any more.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::shard_outages::{Outage, judge};
use crate::{
    options::Options,
    proxy::Proxy,
    report::Report,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// The events of one shard that show that it stores again.
const FIRST_EVENTS: u64 = 10;
/// Longer than a statement may take, so that the daemon gives it up.
const CUT: Duration = Duration::from_secs(13);

/// The traffic between the daemon and one database after the other stands still, without a connection being closed, also
/// a new one. Only the visitors of that shard are refused meanwhile; the statements that were under way reach it late.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("a shard behind a way that stands still");
    let servers = options.start_shards().await?;
    let shards = servers.shards().count();
    let (mut ways, mut arguments) = (Vec::new(), Vec::new());
    for server in &servers.servers {
        let way = Proxy::start(server.url(), &server.socket()).await?;
        arguments.extend(["--shard".to_owned(), way.url().to_owned()]);
        ways.push(way);
    }
    let daemon = options.start_daemon_of_shards(&arguments, &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::over(shards), &[daemon.url()]);
    // Those of the others wait for the shard that is away, until all of them do.
    let singles = Traffic::start(options.seed, 1, 2 * options.clients, &Mix::of_singles(shards), &[daemon.url()]);

    let began = Instant::now();
    let (mut outages, mut recoveries) = (Vec::new(), Vec::new());
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let shard = usize::try_from(report.faults)? % shards.get();
        let begins = Instant::now();
        ways[shard].stall();
        let from = Instant::now();
        report.faults += 1;
        sleep(CUT).await;
        let to = Instant::now();
        ways[shard].go_on();
        singles.acknowledge_of(shard, 1).await?;
        recoveries.push(to.elapsed());
        singles.acknowledge_of(shard, FIRST_EVENTS).await?;
        outages.push(Outage { shard, begins, from, to, over: Instant::now() });
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    report.note_times("the shard stored again after the way was open", &recoveries);

    let mut operations = traffic.stop().await?;
    operations.extend(singles.stop().await?);
    judge(&mut report, &operations, shards, &outages);
    report.audit_shards(servers.shards(), servers.urls(), &[&daemon], &operations).await?;
    Ok(report)
}
