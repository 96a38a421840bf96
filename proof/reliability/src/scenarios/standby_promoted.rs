//! A primary that goes, and its synchronous standby.

use std::time::Instant;

use crate::{
    cluster::{Gone, Pair},
    options::Options,
    report::{Report, leave_out_reads, longest_without_writes},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 200;
/// The number of events that are refused while only the old primary is there.
const REFUSALS: u64 = 20;

/// The primary is killed or stands still under load, and its synchronous standby is promoted: what was acknowledged is
/// there. The old primary comes back as it was, open to writes. The daemon leaves it alone, also while the new one is
/// away. Then the old one becomes the standby.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("primary gone, synchronous standby promoted");
    let mut pair = Pair::start(options).await?;
    pair.make_synchronous().await?;
    let daemon = options.start_daemon(pair.url(), &["--admin-listen", "127.0.0.1:0"]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    let (mut killed, mut frozen, mut kills) = (Vec::new(), Vec::new(), Vec::new());
    while frozen.is_empty() || began.elapsed() < options.duration {
        let how = if killed.len() == frozen.len() { Gone::Killed } else { Gone::Frozen };
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let since = Instant::now();
        pair.lose_primary(how).await?;
        if how == Gone::Killed {
            kills.push((since, Instant::now()));
            report.crashes += 1;
        }
        pair.promote().await?;
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        match how {
            Gone::Killed => &mut killed,
            Gone::Frozen => &mut frozen,
        }
        .push((since, Instant::now()));
        report.faults += 1;

        let old = pair.bring_back_old(how).await?;
        let stood = old.events().await?;
        // For a while the old primary is the only server that would take writes.
        pair.primary.kill().await?;
        report.crashes += 1;
        traffic.refuse(REFUSALS).await?;
        pair.primary.start().await?;
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let stands = old.events().await?;
        report.promise(
            stands == stood,
            format_args!("the old primary holds {stands} events, and held {stood} when it came back"),
        );
        report.faults += 1;
        pair.follow().await?;
        pair.make_synchronous().await?;
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let mut operations = traffic.stop().await?;
    leave_out_reads(&mut operations, &kills);
    for (what, outages) in [("killed, without writes", killed), ("stands still, the same", frozen)] {
        let without = outages.iter().map(|&(from, to)| longest_without_writes(&operations, from, to));
        report.note_times(what, &without.collect::<Vec<_>>());
    }
    let lost = daemon.metric("analyticsd_lost_events_total").await;
    report.promise(lost.unwrap_or_default() == 0.0, format_args!("the daemon counts {lost:?} lost events"));
    report.audit(&pair.store()?, &Saboteur::connect(&pair.primary.url()).await?, &[&daemon], &operations).await?;
    Ok(report)
}
