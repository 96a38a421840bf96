//! A shard moves to another server.

use std::time::{Duration, Instant};

use anyhow::ensure;
use db::{Shards, StoreOptions};
use harness::{APPLICATION_NAME, Daemon};
use tokio::time::sleep;

use crate::{
    cluster::{Node, Place},
    history,
    operation::{Action, Operation},
    options::Options,
    report::{Report, longest_without_writes},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 300;
/// How long the standby may take to have what was committed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Two databases of one server, of which one moves, under load and with two daemons: a standby of the server is promoted, as
/// `docs/operate/scaling.md` has it. Nothing is stored in the copies that are left behind, and each daemon is started again
/// with the new address. Of the other shard's visitors no event is refused but by a daemon that stops.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("a shard moved to another server");
    let old = Node::primary(options, Place::on_loopback()?).await?;
    let server = Saboteur::connect(&old.url_of("postgres")).await?;
    for name in ["shard_0", "shard_1"] {
        server.make_database(name).await?;
    }
    let before = [old.url_of("shard_0"), old.url_of("shard_1")];
    let shards = shards_at(&before)?;
    shards.migrate(None, None).await?;
    let new = Node::standby(options, Place::on_loopback()?, old.place().address()).await?;
    let after = [old.url_of("shard_0"), new.url_of("shard_1")];

    let mut daemons = [start(options, &before).await, start(options, &before).await];
    // Clients of batches over both wait until both are there.
    let [singles, both] = [Mix::of_singles(shards.count()), Mix::over(shards.count())];
    let singles = Traffic::start(options.seed, 0, options.clients, &singles, &urls_of(&daemons));
    let both = Traffic::start(options.seed, 1, options.clients, &both, &urls_of(&daemons));
    for shard in 0..2 {
        singles.acknowledge_of(shard, EVENTS_BETWEEN).await?;
        both.acknowledge_of(shard, EVENTS_BETWEEN).await?;
    }

    let began = Instant::now();
    // The copy of the other shard, which comes along, is not to be used.
    shards.move_shard(0, Some(&[old.place().to_string()])).await?;
    let left = shards.move_shard(1, Some(&[new.place().to_string()])).await?;
    ensure!(left.remaining.is_empty(), "sessions that could not be ended: {left:?}");
    let standby = Saboteur::connect(&new.url_of("postgres")).await?;
    let waits = Instant::now();
    while !standby.has_replayed(&left.log_position).await? {
        ensure!(waits.elapsed() < PATIENCE, "the standby does not come to {}", left.log_position);
        sleep(Duration::from_millis(20)).await;
    }
    standby.promote().await?;
    for copies in [&before, &[new.url_of("shard_0"), new.url_of("shard_1")]] {
        let refused = shards_at(copies)?.verify().await.is_err();
        report.promise(refused, format_args!("{copies:?} are taken, of which one is a copy that was left behind"));
    }
    singles.acknowledge_of(0, EVENTS_BETWEEN).await?;
    for place in 0..daemons.len() {
        let others: Vec<String> = urls_of(&daemons).into_iter().map(str::to_owned).collect();
        let others: Vec<&str> =
            others.iter().enumerate().filter(|(it, _)| *it != place).map(|(_, url)| url.as_str()).collect();
        [&singles, &both].into_iter().for_each(|traffic| traffic.point_at(&others));
        let stopped = std::mem::replace(&mut daemons[place], start(options, &after).await).terminate().await;
        report.promise(stopped.success(), format_args!("a daemon stopped with {stopped}"));
        [&singles, &both].into_iter().for_each(|traffic| traffic.point_at(&urls_of(&daemons)));
        report.faults += 1;
    }
    singles.acknowledge_of(1, EVENTS_BETWEEN).await?;
    both.acknowledge_of(1, EVENTS_BETWEEN).await?;
    let moved = (began, Instant::now());
    server.drop_database("shard_1").await?;
    standby.drop_database("shard_0").await?;
    while began.elapsed() < options.duration {
        both.acknowledge(EVENTS_BETWEEN).await?;
    }

    let operations = [singles.stop().await?, both.stop().await?].concat();
    let is_of_moved = |operation: &&Operation| match &operation.action {
        Action::Send { events, .. } => events.iter().all(|event| shards.count().shard_of(&event.event.user) == 1),
        _ => false,
    };
    let of_moved: Vec<Operation> = operations.iter().filter(is_of_moved).cloned().collect();
    report.note_times("the shard that moved, without writes", &[longest_without_writes(&of_moved, moved.0, moved.1)]);
    let now = shards_at(&after)?;
    let stored = report.audit_places(&now).await?;
    let verdict = report.judge_stored(&stored, &operations);
    report.promise(verdict.is_clean(), &verdict);
    report.audit_counts_of_shards(&now, &[&daemons[0], &daemons[1]], &stored).await?;
    for violation in history::violations(&operations) {
        report.broke(violation);
    }
    Ok(report)
}

fn shards_at(urls: &[String; 2]) -> anyhow::Result<Shards> {
    let options = StoreOptions { application_name: APPLICATION_NAME.to_owned(), ..StoreOptions::default() };
    Ok(Shards::new(urls, &options)?)
}

async fn start(options: &Options, urls: &[String; 2]) -> Daemon {
    let arguments: Vec<String> = urls.iter().flat_map(|url| ["--shard".to_owned(), url.clone()]).collect();
    options.start_daemon_of_shards(&arguments, &[]).await
}

fn urls_of(daemons: &[Daemon; 2]) -> Vec<&str> {
    daemons.iter().map(Daemon::url).collect()
}
