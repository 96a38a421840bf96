//! TimescaleDB, upgraded under load.

use std::time::{Duration, Instant};

use db::{Flavour, schema};

use crate::{
    cluster::{Node, Place, store},
    options::Options,
    report::{Report, longest_without_writes},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

const NAME: &str = "TimescaleDB upgraded";
/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 200;
/// The newest ones, if the server has more: the oldest of a package may be older than what the schema needs.
const VERSIONS: usize = 3;

/// `alter extension timescaledb update` from version to version, under load: the sessions
/// that were open are of no use afterwards, and the daemons replace them. Events of the days before lie in columns,
/// and more come late.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let server = Node::primary(options, Place::on_loopback()?).await?;
    let saboteur = Saboteur::connect(&server.url()).await?;
    let all = saboteur.versions_of_timescale().await?;
    let versions = &all[all.len().saturating_sub(VERSIONS)..];
    if versions.len() < 2 {
        let why = format!("the server has {} versions of the extension, and two are needed", versions.len());
        return Ok(Report::skipped(NAME, why));
    }
    let mut report = Report::new(NAME);
    let began = Instant::now();
    let (mut round, mut longest_pause) = (0, Duration::ZERO);
    while round == 0 || began.elapsed() < options.duration {
        let database = format!("upgraded_{round}");
        saboteur.make_database(&database).await?;
        let pause = upgrade(options, &server.url_of(&database), round, versions, &mut report).await?;
        longest_pause = longest_pause.max(pause);
        saboteur.drop_database(&database).await?;
        round += 1;
    }
    let path = versions.join(" to ");
    report.notes.push(format!("{round} times {path}; no write for {} ms at most", longest_pause.as_millis()));
    Ok(report)
}

/// In a new database. Returns the longest time without a write.
async fn upgrade(
    options: &Options,
    url: &str,
    round: u32,
    versions: &[String],
    total: &mut Report,
) -> anyhow::Result<Duration> {
    let mut report = Report::new(NAME);
    let saboteur = Saboteur::connect(url).await?;
    saboteur.make_timescale(&versions[0]).await?;
    let store = store(url)?;
    schema::migrate(&store, Some(Flavour::Timescale)).await?;
    let settling = ["--settle-after", "10ms"];
    let daemons = [options.start_daemon(url, &settling).await, options.start_daemon(url, &settling).await];
    let urls = [daemons[0].url(), daemons[1].url()];
    let traffic = Traffic::start(options.seed, round, options.clients, &Mix::usual(), &urls);
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    // A session of its own, because the upgrade must be the first statement of one.
    Saboteur::connect(url).await?.move_into_columns().await?;

    let upgrading = Instant::now();
    for version in &versions[1..] {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        Saboteur::connect(url).await?.upgrade_timescale(version).await?;
        report.faults += 1;
        traffic.acknowledge(EVENTS_BETWEEN).await?;
    }
    let upgraded = Instant::now();
    let again = schema::migrate(&store, None).await?;
    report.promise(again.flavour == Flavour::Timescale, "the upgraded extension is not found");

    let operations = traffic.stop().await?;
    report.audit(&store, &Saboteur::connect(url).await?, &[&daemons[0], &daemons[1]], &operations).await?;
    for daemon in daemons {
        daemon.kill().await;
    }
    total.add(report);
    Ok(longest_without_writes(&operations, upgrading, upgraded))
}
