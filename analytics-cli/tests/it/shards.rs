//! Commands on a counter of several databases.

use std::{path::Path, process::Stdio, time::Duration};

use db::{Flavour, Ingested, Retention, Sites, Store, UniqueUsers, Writer};
use harness::{Daemon, ShardServers, TestDatabase, TestShards, on_both_flavours, settle};
use model::{Event, EventKind, Hour, ShardCount, SiteEvent, SiteId, SiteName, Timestamp, UserName};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{Run, backfill::LOSE_SETS, command, profiles::ConfigHome};

on_both_flavours!(
    each_shard_is_verified_and_repaired_and_a_visitor_in_the_wrong_one_is_found,
    retention_is_set_in_the_first_shard_and_every_other_has_it,
);

const TEN: i64 = 1_431_856_800_000;

async fn run(databases: &[String], arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.args(databases);
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

async fn done(databases: &[String], arguments: &[&str]) -> Run {
    let run = run(databases, arguments).await;
    assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
    run
}

fn named(urls: &[&str]) -> Vec<String> {
    urls.iter().flat_map(|url| ["--shard".to_owned(), (*url).to_owned()]).collect()
}

/// The first visitor of a numbered row that is in a shard of so many.
fn visitor_of(shard: usize, shards: usize) -> UserName {
    let count = ShardCount::new(shards).unwrap();
    let mut names = (0..).map(|number| UserName::new(format!("visitor-{number}")).unwrap());
    names.find(|name| count.shard_of(name) == shard).unwrap()
}

async fn store_clicks_of(store: &Store, user: &UserName, clicks: usize) {
    let at = Timestamp::from_millis(TEN).unwrap();
    let event = SiteEvent::nameless(Event { at, user: user.clone(), kind: EventKind::Click });
    let stored = Writer::new(store.clone()).ingest(&vec![event; clicks]).await.unwrap();
    assert_eq!(stored, Ingested::Stored);
}

/// Shards of which each has clicks of a visitor of its own, one more than the one before.
async fn shards_with_events(flavours: &[Flavour]) -> TestShards {
    let shards = TestShards::new(flavours).await;
    for (shard, store) in shards.shards().iter().enumerate() {
        store_clicks_of(store, &visitor_of(shard, flavours.len()), shard + 1).await;
    }
    shards
}

#[tokio::test]
async fn a_list_that_is_not_that_of_the_counter_is_refused_by_every_command_and_nothing_is_written() {
    let shards = TestShards::new(&[Flavour::Postgres; 3]).await;
    let other = TestShards::new(&[Flavour::Postgres; 3]).await;
    let [a, b, c] = [0, 1, 2].map(|shard| shards.databases()[shard].url());
    let alone = vec!["--database-url".to_owned(), c.to_owned()];
    let commands: [&[&str]; 10] = [
        &["verify", "--repair"],
        &["backfill"],
        &["forget", "anna", "--yes"],
        &["retention", "set", "--keep", "1d"],
        &["retention", "confirm"],
        &["site", "create", "shop"],
        &["site", "list"],
        &["token", "create", "shop", "--scope", "write"],
        &["migrate", "up"],
        &["migrate", "status"],
    ];
    for (databases, fault) in [
        (named(&[b, a, c]), "is shard 1 of 3, and the settings name it as shard 0 of 3"),
        (named(&[a, b]), "name all 3 shards in their order"),
        (named(&[a, b, b]), "is shard 1 of 3, and the settings name it as shard 2 of 3"),
        (named(&[a, b, other.databases()[2].url()]), "is of the counter"),
        (alone, "is shard 2 of 3, and the settings name it as shard 0 of 1"),
    ] {
        for arguments in commands {
            let refused = run(&databases, arguments).await;
            assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{arguments:?}: {}", refused.stderr);
            assert!(refused.stderr.contains(fault), "{arguments:?}: {}", refused.stderr);
        }
    }
    for store in shards.shards().iter() {
        assert_eq!(Sites(store).list().await.unwrap(), []);
        assert_eq!(Retention::read(store).await.unwrap().keep, None);
    }
}

#[tokio::test]
async fn new_databases_become_the_shards_of_one_counter_and_none_is_begun_while_one_is_away() {
    let databases = [(); 2].map(|()| TestDatabase::without_schema(Flavour::Postgres));
    let [one, other] = databases;
    let (one, other) = (one.await, other.await);
    let shards = named(&[one.url(), other.url()]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = named(&[one.url(), &format!("postgres://127.0.0.1:{port}/x")]);
    let refused = run(&away, &["migrate", "up"]).await;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("shard 1 (postgres://127.0.0.1:"), "{}", refused.stderr);
    assert!(refused.stderr.contains("check that the server runs and that --shard (or ANALYTICSD_SHARDS) is right"));

    let pending = run(&shards, &["migrate", "status"]).await;
    assert_eq!(pending.code, 1, "{}", pending.stderr);
    let told = "shard 0 of 2: the database has no schema yet";
    assert!(
        pending.stderr.contains(told) && pending.stdout.contains("shard 1 of 2\nflavour none yet\n"),
        "{pending:?}"
    );
    let made = done(&shards, &["migrate", "up", "--flavour", "postgres", "--without-roles"]).await;
    assert!(made.stdout.starts_with("shard 0 of 2\nflavour postgres, without roles\napplied "), "{}", made.stdout);
    let again = done(&shards, &["migrate", "up"]).await;
    insta::assert_snapshot!(again.stdout, @"
    shard 0 of 2
    flavour postgres, without roles
    nothing to apply, the schema is current
    shard 1 of 2
    flavour postgres, without roles
    nothing to apply, the schema is current
    ");
    done(&shards, &["migrate", "verify"]).await;
}

async fn each_shard_is_verified_and_repaired_and_a_visitor_in_the_wrong_one_is_found(flavour: Flavour) {
    let shards = shards_with_events(&[flavour; 3]).await;
    let databases = shards.arguments();
    assert_eq!(done(&databases, &["verify"]).await.stderr, "verified 3 hours, 6 events; 0 differ\n");

    let tampered = shards.databases()[1].client().await;
    tampered.batch_execute("delete from analytics.hour_counts").await.unwrap();
    let stranger = visitor_of(0, 3);
    store_clicks_of(&shards.shards()[2], &stranger, 2).await;
    let differs = run(&databases, &["verify"]).await;
    assert_eq!(differs.code, 1, "{}", differs.stderr);
    insta::allow_duplicates! { insta::assert_snapshot!("verified_shards", differs.stdout) };
    let csv = run(&databases, &["verify", "--format", "csv"]).await.stdout;
    let ends: Vec<&str> = csv.lines().map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(ends, ["shard", "1", "2"]);
    let json = run(&databases, &["verify", "--format", "json"]).await.stdout;
    assert!(json.lines().all(|line| line.contains("\"shard\":")), "{json}");

    let repaired = run(&databases, &["verify", "--repair"]).await;
    assert_eq!(repaired.code, 1, "what is in the wrong shard stays: {}", repaired.stderr);
    insta::allow_duplicates! { insta::assert_snapshot!("repaired_shards", repaired.stderr) };
    let left = run(&databases, &["verify"]).await;
    assert_eq!(left.stderr, "verified 3 hours, 8 events; 1 differ\n");
}

#[tokio::test]
async fn sets_of_visitors_are_made_in_each_shard() {
    let shards = shards_with_events(&[Flavour::Postgres; 3]).await;
    for database in shards.databases() {
        let client = database.client().await;
        settle(&client, "2015-05-17T10:00:00Z", &[0]).await;
        client.batch_execute(LOSE_SETS).await.unwrap();
    }
    let made = done(&shards.arguments(), &["backfill"]).await;
    insta::assert_snapshot!(made.stdout + &made.stderr, @"
    2015-05-17T10:00:00Z in shard 0 of 3: set of visitors made
    2015-05-17T10:00:00Z in shard 1 of 3: set of visitors made
    2015-05-17T10:00:00Z in shard 2 of 3: set of visitors made
    sets of visitors made: 3
    ");
    let ten = Hour::containing(Timestamp::from_millis(TEN).unwrap());
    let told = shards.shards().range_counts(SiteId::NAMELESS, &(ten..=ten)).await.unwrap();
    assert_eq!(told.unique_users, UniqueUsers::Exactly(3));
}

#[tokio::test]
async fn a_visitor_is_forgotten_in_its_own_shard() {
    let shards = shards_with_events(&[Flavour::Postgres; 3]).await;
    let user = visitor_of(2, 3);
    let forgotten = done(&shards.arguments(), &["forget", user.as_str(), "--yes"]).await;
    assert_eq!(forgotten.stderr, "events: 3, in hours: 1; all are deleted\n");
    let left = done(&shards.arguments(), &["verify"]).await;
    assert_eq!(left.stderr, "verified 2 hours, 3 events; 0 differ\n");
}

async fn retention_is_set_in_the_first_shard_and_every_other_has_it(flavour: Flavour) {
    let shards = TestShards::new(&[flavour; 2]).await;
    let databases = shards.arguments();
    let shown = done(&databases, &["retention", "set", "--keep", "400d"]).await.stdout;
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("shard") || line.starts_with("keep")).collect();
    assert_eq!(lines, ["shard 0 of 2", "keep 400d", "shard 1 of 2", "keep 400d"]);
    let bound = |run: &str| {
        let bounds: Vec<_> =
            run.lines().filter(|line| line.starts_with("accepts-events-from")).map(str::to_owned).collect();
        assert_eq!(bounds.len(), 2, "{run}");
        bounds
    };
    let bounds = bound(&shown);
    assert_eq!(bounds[0], bounds[1]);

    // A wrong clock moved what is accepted into the future.
    for database in shards.databases() {
        let forward = "update analytics.settings set accepts_from = now() + interval '2 days', due_before = now() + interval '2 days'";
        database.client().await.batch_execute(forward).await.unwrap();
    }
    let told = done(&databases, &["retention", "show"]).await.stderr;
    assert!(told.contains("retention confirm"), "{told}");
    let confirmed = done(&databases, &["retention", "confirm"]).await;
    assert_eq!(confirmed.stderr, "");
    let now = chrono::Utc::now().to_rfc3339();
    assert!(
        bound(&confirmed.stdout).iter().all(|line| line["accepts-events-from ".len()..] < now[..]),
        "{}",
        confirmed.stdout
    );

    let columns = run(&databases, &["retention", "set", "--columnstore-after", "3d"]).await;
    if flavour == Flavour::Postgres {
        assert_eq!(columns.code, 2, "{}", columns.stderr);
        assert!(columns.stderr.contains("needs the timescale flavour"));
    } else {
        assert_eq!(columns.stdout.matches("columnstore-after 3d").count(), 2, "{}{}", columns.stdout, columns.stderr);
    }
}

#[tokio::test]
async fn only_shards_with_chunks_turn_them_into_columns() {
    let shards = TestShards::new(&[Flavour::Postgres, Flavour::Timescale]).await;
    let shown = done(&shards.arguments(), &["retention", "set", "--columnstore-after", "3d"]).await.stdout;
    let columns: Vec<&str> = shown.lines().filter(|line| line.starts_with("columnstore-after")).collect();
    assert_eq!(columns, ["columnstore-after never", "columnstore-after 3d"]);
}

#[tokio::test]
async fn sites_are_copied_to_every_shard_that_is_there_and_tokens_need_the_first_alone() {
    let mut servers = ShardServers::start(3).await.unwrap();
    let databases = servers.arguments();
    done(&databases, &["site", "create", "shop"]).await;
    servers.servers[1].stop().await.unwrap();
    let renamed = done(&databases, &["site", "rename", "shop", "store"]).await;
    assert!(renamed.stderr.contains("the site shop is called store now"), "{}", renamed.stderr);
    assert!(
        renamed.stderr.contains("warning: shard 1 (") && renamed.stderr.contains("a running daemon copies the sites")
    );
    let found = Sites(&servers.shards()[2]).find(&SiteName::new("store").unwrap()).await.unwrap();
    assert!(found.is_some(), "the shard behind the one that is away has it");
    done(&databases, &["token", "create", "shop", "--scope", "write", "--site", "store"]).await;
    done(&databases, &["token", "revoke", "shop"]).await;
    done(&databases, &["site", "list"]).await;
    let shown = done(&databases, &["retention", "show"]).await;
    assert!(
        shown.stdout.starts_with("shard 0 of 3\nkeep ") && shown.stdout.contains("shard 2 of 3\nkeep "),
        "{shown:?}"
    );
    assert!(!shown.stdout.contains("shard 1") && shown.stderr.contains("warning: shard 1 ("), "{shown:?}");
    assert_eq!(run(&databases, &["retention", "set", "--keep", "400d"]).await.code, 2);
    let refused = run(&databases, &["site", "create", "blog"]).await;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("error: shard 1 ("), "{}", refused.stderr);
    let verified = run(&databases, &["verify"]).await;
    assert_eq!(verified.code, 2, "{}", verified.stderr);
    assert!(verified.stderr.contains("shard 1 (postgres://"), "{}", verified.stderr);
}

#[tokio::test]
async fn doctor_names_the_shard_in_each_line_and_what_is_wrong_with_the_list() {
    let shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let [a, b] = [0, 1].map(|shard| shards.databases()[shard].url());
    let doctor = async |databases: Vec<String>| {
        let run = run(&databases, &["doctor", "--server", "http://127.0.0.1:9"]).await;
        run.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = doctor(named(&[a, b])).await;
    let is = |line: &str, health: &str, check: &str, seen: &str| {
        line.starts_with(health) && line.contains(&format!("  {check} ")) && line.contains(seen)
    };
    for (health, check, seen) in [
        ("ok", "database", "shard 1: postgres://"),
        ("ok", "shard", "shard 0: shard 0 of 2 of the counter "),
        ("ok", "shard", "shard 1: shard 1 of 2 of the counter "),
        ("ok", "migrations", "shard 1: "),
        ("warning", "shared servers", "shards 0 and 1 are on one server"),
        ("ok", "shard versions", "flavour postgres"),
    ] {
        assert!(lines.iter().any(|line| is(line, health, check, seen)), "{check} {seen}: {lines:#?}");
    }
    let swapped = doctor(named(&[b, a])).await;
    let wrong = |line: &String| is(line, "problem", "shard", "name all 2 shards in their order");
    assert_eq!(swapped.iter().filter(|line| wrong(line)).count(), 2, "{swapped:#?}");
    assert!(swapped.iter().any(|line| is(line, "ok", "migrations", "shard 1: ")), "the rest is looked at all the same");
    let alone = doctor(vec!["--database-url".to_owned(), b.to_owned()]).await;
    assert!(alone.iter().any(|line| is(line, "problem", "shard", "the database is shard 1 of 2")), "{alone:#?}");
}

#[tokio::test]
async fn shards_are_named_by_flags_a_variable_or_a_profile_and_not_beside_another_database() {
    let shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let [a, b] = [0, 1].map(|shard| shards.databases()[shard].url());
    let both = format!("{a}  {b}");
    let home = ConfigHome::with(&format!("[profiles.two]\nshards = [\"{a}\", \"{b}\"]\n"));
    for (arguments, environment) in [
        (vec!["verify"], vec![("ANALYTICSD_SHARDS", both.as_str())]),
        (vec!["verify"], vec![("ANALYTICSD_SHARDS", both.as_str()), ("DATABASE_URL", "")]),
        (vec!["verify", "--profile", "two"], vec![]),
        (vec!["verify", "--shard", a, "--shard", b], vec![]),
    ] {
        let run = home.run(&arguments, &environment);
        assert_eq!((run.code, run.stderr.as_str()), (0, "verified 0 hours, 0 events; 0 differ\n"), "{arguments:?}");
    }
    let contradicts = home.run(&["verify", "--shard", a], &[("DATABASE_URL", b)]);
    assert_eq!(contradicts.code, 2);
    let told = "error: --shard and DATABASE_URL: contradict each other; accepted is one of the two\n";
    assert_eq!(contradicts.stderr, told);
    let shown = home.run(&["config", "--profile", "two"], &[]);
    assert!(shown.stdout.contains("\nshards        postgres://"), "{}", shown.stdout);
}

#[tokio::test]
async fn what_is_due_in_another_shard_is_what_the_first_says() {
    let shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let keep = Some(Duration::from_hours(24 * 400));
    let retention = Retention { keep, columnstore_after: None };
    retention.write(&shards.shards()[0]).await.unwrap();
    // A shard that does not have the bound yet does not make one of its own.
    retention.write(&shards.shards()[1]).await.unwrap();
    let due = async |shard: usize| Retention::due(&shards.shards()[shard]).await.unwrap().before;
    assert!(due(0).await.is_some());
    assert_eq!(due(1).await, None);
    shards.shards().copy_retention().await.unwrap();
    assert_eq!(due(1).await, due(0).await);
}

/// Where a source stands in a shard; 0 where nothing of any is stored.
async fn stands_at(store: &Store) -> u64 {
    store.sources(SiteId::NAMELESS, "import:").await.unwrap().first().map_or(0, |(_, at)| at.position)
}

fn events(numbers: std::ops::Range<u64>) -> String {
    let line = |n| format!("{{\"timestamp\":{TEN},\"user\":\"visitor-{n}\",\"event\":\"click\"}}\n");
    numbers.map(line).collect()
}

fn import(daemon: &Daemon, file: &Path, more: &[&str]) -> tokio::process::Command {
    let mut command =
        tokio::process::Command::from(command(&["import", "--format", "ndjson", "--server", daemon.url()]));
    command.args(more).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn imported(mut command: Command) -> Run {
    command.output().await.unwrap().into()
}

/// Lets a shard store nothing of sources.
const LOCK: &str = "begin; lock analytics.sources in share mode";

/// Begins to import while a shard is locked, and waits until a part is stored in the other alone.
async fn stored_in_part(daemon: &Daemon, file: &Path, more: &[&str]) -> Child {
    let mut importing = import(daemon, file, more).spawn().unwrap();
    let mut told = BufReader::new(importing.stderr.take().unwrap()).lines();
    while let Some(line) = told.next_line().await.unwrap()
        && !line.contains("trying again")
    {}
    tokio::spawn(async move { while let Ok(Some(_)) = told.next_line().await {} });
    importing
}

/// Leaves a part of a file in the second shard alone.
async fn killed_in_between(file: &Path, shards: &TestShards, more: &[&str]) {
    let [first, second] = [0, 1].map(|shard| &shards.shards()[shard]);
    let stood = stands_at(first).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    let locked = shards.databases()[0].client().await;
    locked.batch_execute(LOCK).await.unwrap();
    stored_in_part(&daemon, file, more).await.kill().await.unwrap();
    daemon.kill().await;
    // What the daemon left behind would go on with the lock.
    let end = "select pg_terminate_backend(pid, 60000) from pg_stat_activity \
               where datname = current_database() and pid <> pg_backend_pid() and application_name = 'analyticsd'";
    locked.batch_execute(end).await.unwrap();
    locked.batch_execute("rollback").await.unwrap();
    assert_eq!(stands_at(first).await, stood);
    assert!(stands_at(second).await > stood);
}

async fn clicks(daemon: &Daemon) -> u64 {
    daemon.counts(chrono::DateTime::from_timestamp_millis(TEN).unwrap()).await.clicks
}

#[tokio::test]
async fn an_import_that_was_stored_in_one_shard_alone_goes_on_and_counts_nothing_twice() {
    let shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, events(0..1_000)).unwrap();
    // Of the first part, so that the source stands at 0; and then of one behind it.
    for (size, to) in [("70", 1_000), ("130", 2_500)] {
        std::fs::write(&file, events(0..to)).unwrap();
        killed_in_between(&file, &shards, &["--batch-size", size]).await;
        let again = imported(import(&daemon, &file, &["--batch-size", "400"])).await;
        assert_eq!(again.code, 0, "{}", again.stderr);
        assert_eq!(clicks(&daemon).await, to);
    }
    assert_eq!(done(&shards.arguments(), &["verify"]).await.code, 0);
}

#[tokio::test]
async fn an_import_sends_a_part_that_is_stored_in_one_shard_alone_again_as_it_was() {
    let shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, events(0..1_000)).unwrap();
    let locked = shards.databases()[0].client().await;
    locked.batch_execute(LOCK).await.unwrap();
    let importing = stored_in_part(&daemon, &file, &["--batch-size", "100"]).await;
    locked.batch_execute("rollback").await.unwrap();
    assert_eq!(importing.wait_with_output().await.unwrap().status.code(), Some(0));
    assert_eq!(clicks(&daemon).await, 1_000);
}

#[tokio::test]
async fn a_file_that_some_shards_may_have_by_another_name_is_not_begun_again() {
    let shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, renamed) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::write(&file, events(0..500)).unwrap();
    killed_in_between(&file, &shards, &[]).await;
    std::fs::rename(&file, &renamed).unwrap();
    let refused = imported(import(&daemon, &renamed, &[])).await;
    assert_eq!(refused.code, 2, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("have the beginning of a file that begins as it does"), "{}", refused.stderr);
    std::fs::rename(&renamed, &file).unwrap();
    let again = imported(import(&daemon, &file, &[])).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(clicks(&daemon).await, 500);
}

#[tokio::test]
async fn a_file_that_is_no_source_is_refused_with_what_to_do() {
    let shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, events(0..9)).unwrap();
    let refused = imported(import(&daemon, &file, &["--without-source"])).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("Leave out --without-source: a counter of several databases"),
        "{}",
        refused.stderr
    );
    assert_eq!(clicks(&daemon).await, 0);
}

#[tokio::test]
async fn a_shard_that_moves_is_listed_and_refused_where_it_was() {
    let shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let databases = shards.arguments();
    let listed = done(&databases, &["shard", "list"]).await;
    assert_eq!(listed.stdout.lines().filter(|line| line.ends_with("anywhere  ok")).count(), 2, "{}", listed.stdout);

    let refused = run(&databases, &["shard", "move", "2", "db-b.example:5432"]).await;
    assert!(refused.code == 2 && refused.stderr.contains("accepted is 0 to 1"), "{}", refused.stderr);
    assert_eq!(run(&databases, &["shard", "move", "1", "db-b.example"]).await.code, 2);

    let moved = done(&databases, &["shard", "move", "1", "db-b.example:5432"]).await;
    assert!(moved.stdout.contains("stores nothing more of it"), "{}", moved.stdout);
    let listed = run(&databases, &["shard", "list", "--format", "json"]).await;
    assert_eq!(listed.code, 1);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let moved = &listed[1];
    assert_eq!((&listed[0]["fault"], &moved["lives_at"][0]), (&serde_json::Value::Null, &"db-b.example:5432".into()));
    assert!(moved["fault"].as_str().unwrap().contains("is a copy of it"), "{listed}");
    let refused = run(&databases, &["verify"]).await;
    assert!(refused.code == 2 && refused.stderr.contains("is a copy of it"), "{}", refused.stderr);

    done(&databases, &["shard", "move", "1", "--anywhere"]).await;
    done(&databases, &["verify"]).await;
}
