//! A primary that is killed, and an asynchronous standby that lags behind.

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::Daemon;
use model::{Event, EventKind, IdempotencyKey, SiteEvent, Timestamp, UserName, wire::ANALYTICS_PATH};
use reqwest::StatusCode;
use tokio::time::sleep;

use crate::{
    cluster::{Gone, Pair},
    history,
    ledger::Multiset,
    operation::{Action, Operation, Outcome},
    options::Options,
    proxy::Proxy,
    report::{Report, longest_without_writes},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events before the standby receives nothing more, and afterwards.
const EVENTS_BETWEEN: u64 = 300;
/// The number of events under keys before that, and afterwards.
const KEYED: u64 = 20;
/// For longer the daemon could not count what was lost: a lane remembers its last 65,536 commits.
const LONGEST_LAG: Duration = Duration::from_secs(15);
/// How long the daemon may take to find out what was lost.
const PATIENCE: Duration = Duration::from_mins(1);

/// The standby receives nothing for a while, the primary is killed, and the standby is promoted. What is lost is what
/// the standby had not received, the daemon counts it, and a client that sends events again under their keys has each
/// stored once.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("primary killed, standby that lagged promoted");
    let mut pair = Pair::start(options).await?;
    let link = Proxy::start(&pair.primary.url(), &pair.primary.socket()).await?;
    pair.standby.kill().await?;
    pair.standby.follow(link.address()).await?;
    let primary = Saboteur::connect(&pair.primary.url()).await?;
    primary.wait_for_standby().await?;
    let daemon = options.start_daemon(pair.url(), &["--admin-listen", "127.0.0.1:0"]).await;
    // A key that is sent again after the loss would hide it. Those below do that on purpose.
    let mix = Mix { keyed: 0.0, ..Mix::usual() };
    let traffic = Traffic::start(options.seed, 0, options.clients, &mix, &[daemon.url()]);

    traffic.acknowledge(EVENTS_BETWEEN).await?;
    let mut keyed = Vec::new();
    for number in 0..KEYED {
        keyed.push(send(&daemon, number, Timestamp::now()).await?);
    }
    primary.wait_until_received().await?;
    link.stall();
    for number in KEYED..2 * KEYED {
        keyed.push(send(&daemon, number, Timestamp::now()).await?);
    }
    let began = Instant::now();
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    while began.elapsed() < options.duration.min(LONGEST_LAG) {
        traffic.acknowledge(1).await?;
    }

    let killed = Instant::now();
    pair.lose_primary(Gone::Killed).await?;
    report.crashes += 1;
    drop(link);
    pair.promote().await?;
    report.faults += 1;
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    let stored_again = Instant::now();
    let mut operations = traffic.stop().await?;
    for (number, at) in (0..).zip(sent_at(&keyed)) {
        send(&daemon, number, at).await?;
    }

    let left_at = Saboteur::connect(&pair.primary.url()).await?.left_first_timeline_at().await?;
    let unreceived = pair.standby.committed_behind(&left_at).await?;
    let old = pair.bring_back_old(Gone::Killed).await?;
    let unreceived = old.events_of(&unreceived).await?;
    let without = longest_without_writes(&operations, killed, stored_again).as_secs_f64();
    let in_all: u64 = unreceived.values().sum();
    report.notes.push(format!("the standby had not received {in_all} events; {without:.1} s without writes"));
    operations.extend(keyed);
    audit(&mut report, &pair, &daemon, operations, &unreceived, killed).await?;
    Ok(report)
}

/// Sends an event under a key of its number until it is acknowledged.
async fn send(daemon: &Daemon, number: u64, at: Timestamp) -> anyhow::Result<Operation> {
    let began = Instant::now();
    let (user, kind) = (UserName::new(format!("keyed-{number}"))?, EventKind::Click);
    let url = format!("{}{ANALYTICS_PATH}?timestamp={}&user={user}&event={kind}", daemon.url(), at.millis());
    loop {
        let request = daemon.http().post(&url).header(IdempotencyKey::HEADER, user.as_str());
        match request.send().await?.status() {
            StatusCode::NO_CONTENT => break,
            status => ensure!(began.elapsed() < PATIENCE, "an event under a key got {status} for {PATIENCE:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    let action =
        Action::Send { events: vec![SiteEvent::nameless(Event { at, user, kind })], outcome: Outcome::Acknowledged };
    Ok(Operation { client: u32::MAX, began, ended: Instant::now(), action })
}

fn sent_at(operations: &[Operation]) -> impl Iterator<Item = Timestamp> {
    operations.iter().filter_map(|operation| match &operation.action {
        Action::Send { events, .. } => Some(events[0].event.at),
        _ => None,
    })
}

/// Here the ledger's rule allows that what the standby had not received is missing.
async fn audit(
    report: &mut Report,
    pair: &Pair,
    daemon: &Daemon,
    mut operations: Vec<Operation>,
    unreceived: &Multiset,
    killed: Instant,
) -> anyhow::Result<()> {
    let store = pair.store()?;
    Saboteur::connect(&pair.primary.url()).await?.wait_for_rest().await?;
    let verdict = report.judge(&store, &operations).await?;
    report.promise(verdict.extra.is_empty(), &verdict);
    report.lost = 0;
    for (key, lost) in &verdict.missing {
        let not_received = unreceived.get(key).copied().unwrap_or_default();
        report.promise(
            *lost <= not_received,
            format_args!("{lost} events of {key:?} are lost, of which the standby had not received {not_received}"),
        );
        report.lost += lost.saturating_sub(not_received);
    }
    let lost = verdict.lost();
    report.notes.push(format!("{lost} of these are lost, as promised, and not in the table"));
    report.promise(lost > 0, "the standby lacked nothing, so nothing was tried");
    let unknown = report.unknown;
    report.promise(unknown == 0, format_args!("{unknown} events were left unanswered"));
    // Those under keys were lost too, before they were sent again.
    let noticed = lost_events_noticed(daemon, lost + KEYED).await;
    report.promise(
        noticed == lost + KEYED,
        format_args!("the daemon noticed {noticed} lost events, of {lost} and {KEYED} under keys"),
    );
    report.audit_counts(&store).await?;
    report.audit_answers(&store, &[daemon]).await?;
    // Afterwards the counts are lower, as they must be.
    operations.retain(|operation| operation.ended < killed || !matches!(operation.action, Action::Read { .. }));
    for violation in history::violations(&operations) {
        report.broke(violation);
    }
    Ok(())
}

/// What the daemon's metric says, once it has reached this.
async fn lost_events_noticed(daemon: &Daemon, expected: u64) -> u64 {
    let began = Instant::now();
    loop {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It counts.
        let noticed = daemon.metric("analyticsd_lost_events_total").await.unwrap_or_default() as u64;
        if noticed >= expected || began.elapsed() > PATIENCE {
            return noticed;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
