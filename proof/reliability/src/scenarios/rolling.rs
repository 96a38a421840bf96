//! Replicas behind a proxy, restarted and upgraded one by one under load.

use std::{path::Path, time::Instant};

use db::{Store, StoreOptions, roles, schema};
use harness::{APPLICATION_NAME, Daemon, bare_command};

use crate::{
    earlier,
    operation::Operation,
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

const REPLICAS: usize = 2;
/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 300;

/// Each replica is removed from the proxy, stopped, started again and put back. No request fails, and no count is lost.
pub async fn restart(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("a rolling restart");
    let server = options.start_server().await?;
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(options.start_daemon(server.url(), &[]).await);
    }
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &urls(&replicas));
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        replace_each(&mut replicas, &traffic, &mut report, options, server.url()).await?;
    }
    end(&mut report, server.store(), server.url(), &replicas, traffic).await?;
    Ok(report)
}

/// Replicas of an earlier commit serve while the schema is migrated, continue on the new schema, and are replaced by
/// new ones, whose login has only the rights of a daemon. No request fails, and no count is lost.
pub async fn upgrade(options: &Options) -> anyhow::Result<Report> {
    let name = "a rolling upgrade from an earlier commit";
    let earlier = match earlier::daemon().await? {
        Ok(earlier) => earlier,
        Err(why) => return Ok(Report::skipped(name, why)),
    };
    let mut report = Report::new(name);
    let server = options.start_server().await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    saboteur.make_database("upgraded").await?;
    let owner = server.url().replacen("@/analytics?", "@/upgraded?", 1);
    let daemon = owner.replacen("postgres://analytics@", "postgres://replica@", 1);
    let store =
        Store::new(&owner, StoreOptions { application_name: APPLICATION_NAME.to_owned(), ..StoreOptions::default() })?;
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(start(&earlier, &owner, options).await);
    }
    let before = schema::status(&store).await?;
    report.promise(before.complaint().is_some(), "the earlier commit has the same schema, so nothing is upgraded");

    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &urls(&replicas));
    traffic.acknowledge(EVENTS_BETWEEN).await?;
    let migrated = schema::migrate(&store, None).await?;
    report.promise(
        migrated.roles.lacking.is_empty(),
        format_args!("lacking after the upgrade: {:?}", migrated.roles.lacking),
    );
    report.notes.push(format!("{} migrations were applied under load", migrated.applied.len()));
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    saboteur.make_member("replica", roles::DAEMON).await?;
    replace_each(&mut replicas, &traffic, &mut report, options, &daemon).await?;
    end(&mut report, &store, &owner, &replicas, traffic).await?;
    Ok(report)
}

/// The earlier daemon makes its own schema.
async fn start(program: &Path, url: &str, options: &Options) -> Daemon {
    let mut command = bare_command(program);
    command.args(["--database-url", url, "--migrate", "--log", &options.daemon_log]);
    Daemon::start_command(command).await
}

async fn replace_each(
    replicas: &mut Vec<Daemon>,
    traffic: &Traffic,
    report: &mut Report,
    options: &Options,
    url: &str,
) -> anyhow::Result<()> {
    for _ in 0..replicas.len() {
        let leaving = replicas.remove(0);
        traffic.point_at(&urls(replicas));
        // A proxy sends no more requests to a removed replica, and waits for its answers.
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let status = leaving.terminate().await;
        report.promise(status.success(), format_args!("a replica was asked to stop and ended with {status}"));
        report.faults += 1;
        replicas.push(options.start_daemon(url, &[]).await);
        traffic.point_at(&urls(replicas));
        traffic.acknowledge(EVENTS_BETWEEN).await?;
    }
    Ok(())
}

async fn end(
    report: &mut Report,
    store: &Store,
    url: &str,
    replicas: &[Daemon],
    traffic: Traffic,
) -> anyhow::Result<()> {
    let operations = traffic.stop().await?;
    let failed: Vec<&Operation> = operations.iter().filter(|operation| !operation.succeeded()).collect();
    let first = failed.first();
    report.promise(failed.is_empty(), format_args!("{} requests failed, the first: {first:?}", failed.len()));
    let saboteur = Saboteur::connect(url).await?;
    let daemons: Vec<&Daemon> = replicas.iter().collect();
    report.audit(store, &saboteur, &daemons, &operations).await
}

fn urls(replicas: &[Daemon]) -> Vec<&str> {
    replicas.iter().map(Daemon::url).collect()
}
