//! A shard moves to another server.

use std::time::{Duration, Instant};

use anyhow::ensure;
use db::{Shards, StoreOptions};
use harness::{APPLICATION_NAME, Daemon};
use tokio::time::sleep;

use crate::{
    cluster::{Node, Place},
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 300;
/// How long the standby may take to have what was committed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Two databases of one server, of which one moves, under load and with two daemons: a standby of the server is promoted, as
/// `docs/operate/scaling.md` has it. Nothing is stored in the copies that are left behind, and other daemons take over that
/// have the new address.
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
    let mut left_behind = Vec::new();
    for place in 0..daemons.len() {
        left_behind.push(std::mem::replace(&mut daemons[place], start(options, &after).await));
        if place == 0 {
            // The other one does not know the new address yet.
            for traffic in [&singles, &both] {
                traffic.point_at(&[daemons[0].url()]);
            }
            singles.acknowledge_of(1, 1).await?;
            report.note_times("its visitors were refused", &[began.elapsed()]);
        }
    }
    for daemon in left_behind {
        // It looks for the fate of commits that were cut, until it gives them up.
        let stopped = daemon.terminate().await;
        report.promise(stopped.success(), format_args!("a daemon stopped with {stopped}"));
    }
    for traffic in [&singles, &both] {
        traffic.point_at(&urls_of(&daemons));
    }
    report.faults += 1;
    singles.acknowledge_of(1, EVENTS_BETWEEN).await?;
    both.acknowledge_of(1, EVENTS_BETWEEN).await?;
    server.drop_database("shard_1").await?;
    standby.drop_database("shard_0").await?;
    while began.elapsed() < options.duration {
        both.acknowledge(EVENTS_BETWEEN).await?;
    }

    let operations = [singles.stop().await?, both.stop().await?].concat();
    let now = shards_at(&after)?;
    now.verify().await?;
    report.audit_shards(&now, &after, &[&daemons[0], &daemons[1]], &operations).await?;
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
