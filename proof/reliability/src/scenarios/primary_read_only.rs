//! A primary that takes no writes any more.

use std::time::Instant;

use crate::{
    cluster::Pair,
    options::Options,
    report::{Report, longest_without_writes},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 200;
/// The number of events that are refused while no server takes writes.
const REFUSALS: u64 = 20;

/// The primary turns read-only under load, and its standby is not promoted yet: events are refused. Then the primary
/// takes writes again, or the standby is promoted. No connection is closed, so the daemon must see it by itself.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("primary turns read-only");
    let mut pair = Pair::start(options).await?;
    pair.make_synchronous().await?;
    let daemon = options.start_daemon(pair.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    let (mut writable, mut promoted) = (Vec::new(), Vec::new());
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let primary = Saboteur::connect(&pair.primary.url()).await?;
        primary.make_read_only(true).await?;
        traffic.refuse(REFUSALS).await?;
        let since = Instant::now();
        if report.faults.is_multiple_of(2) {
            primary.make_read_only(false).await?;
            traffic.acknowledge(EVENTS_BETWEEN).await?;
            writable.push((since, Instant::now()));
        } else {
            pair.promote().await?;
            traffic.acknowledge(EVENTS_BETWEEN).await?;
            promoted.push((since, Instant::now()));
            pair.follow().await?;
            pair.make_synchronous().await?;
        }
        report.faults += 1;
    }

    let operations = traffic.stop().await?;
    for (what, outages) in
        [("writable again, until the next write", writable), ("standby promoted, the same", promoted)]
    {
        let without = outages.iter().map(|&(from, to)| longest_without_writes(&operations, from, to));
        report.note_times(what, &without.collect::<Vec<_>>());
    }
    report.audit(&pair.store()?, &Saboteur::connect(&pair.primary.url()).await?, &[&daemon], &operations).await?;
    Ok(report)
}
