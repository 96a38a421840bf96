//! One database of several is restored to an earlier state.

use std::time::{Duration, Instant};

use harness::Daemon;
use model::ShardCount;
use tokio::time::sleep;

use crate::{
    backup::Backup,
    ledger::{Key, Multiset},
    operation::{Action, Operation, Outcome},
    options::Options,
    report::{Report, of_shard},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 300;
/// How long the daemon may take to find out what was lost.
const PATIENCE: Duration = Duration::from_mins(1);

/// The time from before a copy of a shard is taken until it has taken the shard's place.
struct Restored {
    shard: usize,
    from: Instant,
    to: Instant,
}

/// A copy of one shard after the other is taken under load, and later takes its place, while the daemon runs. Single events
/// that this shard stored in between are lost, of other shards none, and the daemon counts each. Every client's source
/// is read again from where the restored shard stands, and each event of it counts once in every shard.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("a shard restored to an earlier state");
    let mut servers = options.start_shards().await?;
    let shards = servers.shards().count();
    let daemon = options.start_daemon_of_shards(&servers.arguments(), &[]).await;
    // Counts fall when a shard is restored.
    let singles = Mix { reads: 0.0, ..Mix::of_singles(shards) };
    let sources = Mix { reads: 0.0, batches: 1.0, sources: 1.0, restores: true, ..Mix::over(shards) };
    let singles = Traffic::start(options.seed, 0, options.clients, &singles, &[daemon.url()]);
    let sources = Traffic::start(options.seed, 1, options.clients, &sources, &[daemon.url()]);

    let began = Instant::now();
    let mut restored: Vec<Restored> = Vec::new();
    while restored.is_empty() || began.elapsed() < options.duration {
        let shard = restored.len() % shards.get();
        singles.acknowledge(EVENTS_BETWEEN).await?;
        let from = Instant::now();
        let backup = Backup::of(options, &servers.servers[shard]).await?;
        singles.acknowledge_of(shard, EVENTS_BETWEEN).await?;
        sources.acknowledge_of(shard, EVENTS_BETWEEN).await?;
        report.crashes += 1;
        report.faults += 1;
        backup.restore(&mut servers.servers[shard]).await?;
        restored.push(Restored { shard, from, to: Instant::now() });
        singles.acknowledge_of(shard, EVENTS_BETWEEN).await?;
        sources.acknowledge_of(shard, EVENTS_BETWEEN).await?;
    }

    let singles = singles.stop().await?;
    // Each of its clients sends a last part, whose answer makes it read its source again if a shard lacks something.
    let sources = sources.stop().await?;
    for url in servers.urls() {
        Saboteur::connect_when_up(url).await?.wait_for_rest().await?;
    }
    let stored = report.placed(servers.shards()).await?;
    let lost = judge(&mut report, &stored, &singles, &sources, shards, &restored);
    audit_losses(&mut report, &daemon, shards, &lost).await;
    report.audit_counts_of_shards(servers.shards(), &[&daemon], &stored).await?;
    Ok(report)
}

/// Single events may be missing of which the shard that has them was restored. Returns how many are, of each shard.
fn judge(
    report: &mut Report,
    stored: &Multiset,
    singles: &[Operation],
    sources: &[Operation],
    shards: ShardCount,
    restored: &[Restored],
) -> Vec<u64> {
    let may_be_lost = |operation: &Operation| match &operation.action {
        Action::Send { events, .. } => restored.iter().any(|it| {
            it.shard == shards.shard_of(&events[0].event.user) && operation.ended >= it.from && operation.began <= it.to
        }),
        _ => false,
    };
    let mut allowed = Multiset::new();
    for operation in singles.iter().filter(|operation| may_be_lost(operation)) {
        if let Action::Send { events, outcome: Outcome::Acknowledged } = &operation.action {
            let key =
                Key { hour: events[0].site_hour(), kind: events[0].event.kind, user: events[0].event.user.clone() };
            *allowed.entry(key).or_default() += 1;
        }
    }
    let operations: Vec<Operation> = singles.iter().chain(sources).cloned().collect();
    let verdict = report.judge_stored(stored, &operations);
    report.promise(verdict.extra.is_empty(), &verdict);
    report.lost = 0;
    let mut lost_of = vec![0; shards.get()];
    for (key, lost) in &verdict.missing {
        let allowed = allowed.get(key).copied().unwrap_or_default();
        report.promise(
            *lost <= allowed,
            format_args!("{lost} events of {key:?} are lost, of which a restored shard had stored {allowed} later"),
        );
        report.lost += lost.saturating_sub(allowed);
        lost_of[shards.shard_of(&key.user)] += lost;
    }
    let lost: u64 = lost_of.iter().sum();
    report.promise(lost > 0, "the restored shards lacked nothing, so nothing was tried");
    report.notes.push(format!(
        "{lost} single events that a restored shard had stored later are lost, as they must be, and not in the table"
    ));
    lost_of
}

/// The daemon counts all that it had acknowledged, also what came again with a source.
async fn audit_losses(report: &mut Report, daemon: &Daemon, shards: ShardCount, lost: &[u64]) {
    for (shard, lost) in lost.iter().enumerate() {
        let noticed = lost_events_noticed(daemon, shard, shards, *lost).await;
        report.promise(
            noticed >= *lost && (*lost > 0 || noticed == 0),
            format_args!(
                "the daemon noticed {noticed} lost events of shard {shard}, of which {lost} did not come again"
            ),
        );
    }
}

/// What the daemon's metric says, once it has reached this.
async fn lost_events_noticed(daemon: &Daemon, shard: usize, shards: ShardCount, expected: u64) -> u64 {
    let name = of_shard("analyticsd_lost_events_total", shard, shards);
    let began = Instant::now();
    loop {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It counts.
        let noticed = daemon.metric(&name).await.unwrap_or_default() as u64;
        if noticed >= expected || began.elapsed() > PATIENCE {
            return noticed;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
