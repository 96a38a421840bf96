use std::net::TcpListener;

use db::{Flavour, Ingested, Writer, roles, schema};
use harness::{Daemon, PoolMode, Pooler, PrivateServer, TestDatabase, on_both_flavours};
use model::{Event, EventKind, SiteEvent, Timestamp, UserName};
use serde_json::Value;

use crate::{
    Run, command,
    server::{Answer, TestServer},
};

on_both_flavours!(
    a_system_that_is_well_is_found_so,
    a_function_that_was_tampered_with_is_named,
    pending_migrations_are_reported_with_the_command_that_applies_them,
);

/// No server listens on this port.
const UNREACHABLE: &str = "http://127.0.0.1:9";

async fn doctor(server: &str, database_url: Option<&str>, arguments: &[&str]) -> Run {
    let mut command = command(&["doctor"]);
    command.args(arguments).env("ANALYTICS_SERVER", server);
    if let Some(url) = database_url {
        command.env("DATABASE_URL", url);
    }
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// What a check found, as how it is, what was seen and what to do.
async fn finding(server: &str, database_url: Option<&str>, check: &str) -> (String, String, String) {
    let run = doctor(server, database_url, &["--format", "json"]).await;
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|finding| finding["check"] == check).unwrap();
    let text = |member: &str| found[member].as_str().unwrap_or_default().to_owned();
    (text("health"), text("seen"), text("advice"))
}

/// The report with everything that differs from machine to machine replaced.
fn normalised(report: &str, values: &[(&str, &str)]) -> String {
    let mut text = report.to_owned();
    for (value, name) in values {
        text = text.replace(value, name);
    }
    let words: Vec<&str> = text.split(' ').collect();
    let is_seconds = |place: usize| words.get(place + 1).is_some_and(|unit| unit.lines().next() == Some("s"));
    let hidden = words.iter().enumerate().map(|(place, word)| match word.parse::<f64>() {
        Ok(_) if is_seconds(place) => "N",
        _ => word,
    });
    hidden.collect::<Vec<_>>().join(" ")
}

/// Waits until the daemon has become the settler of its database.
async fn elected(database: &TestDatabase) {
    let client = database.client().await;
    let settler = "select exists (select from pg_locks where locktype = 'advisory' and classid = analytics.lock_class('settler')::oid)";
    while !client.query_one(settler, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
}

async fn a_system_that_is_well_is_found_so(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    // In WebAssembly everybody is the superuser.
    let has_logins = flavour == Flavour::Postgres || std::env::var_os("TEST_TIMESCALE_URL").is_some();
    let login = if has_logins { database.url_of_member(&[roles::DAEMON]).await } else { database.url().to_owned() };
    database.close_to_strangers(flavour).await;
    let daemon = Daemon::start(&login).await;
    elected(&database).await;
    let run = doctor(daemon.url(), Some(database.url()), &[]).await;
    let client = database.client().await;
    let setting = async |name: &str| -> String {
        let row = client.query_one("select split_part(current_setting($1), ' ', 1)", &[&name]).await.unwrap();
        row.get(0)
    };
    let version = setting("server_version").await;
    let migrations = schema::status(database.store()).await.unwrap().migrations.len();
    let row = client.query_one("select counter::text from analytics.settings", &[]).await.unwrap();
    let counter: String = row.get(0);
    let values = [
        (counter.as_str(), "COUNTER"),
        (daemon.url(), "SERVER"),
        (database.url(), "DATABASE"),
        (version.as_str(), "VERSION"),
        (env!("CARGO_PKG_VERSION"), "OWN_VERSION"),
        (&format!("all {migrations} and"), "all COUNT and"),
    ];
    assert_eq!(run.code, 0, "{}", run.stdout);
    // The servers that the flavour timescale is tested on differ in these.
    let differs = |line: &&str| {
        flavour == Flavour::Timescale && (line.contains("  timescaledb  ") || line.contains("  durability  "))
    };
    let report: Vec<&str> = run.stdout.lines().filter(|line| !differs(line)).collect();
    insta::assert_snapshot!(format!("well_{flavour}"), normalised(&report.join("\n"), &values));
    for line in run.stdout.lines().filter(differs) {
        // The one in WebAssembly is old, and never syncs.
        let is_native = std::env::var_os("TEST_TIMESCALE_URL").is_some();
        assert!(line.starts_with("warning") || is_native && line.starts_with("ok"), "{line}");
    }
}

async fn a_function_that_was_tampered_with_is_named(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let (health, ..) = finding(UNREACHABLE, Some(database.url()), "schema objects").await;
    assert_eq!(health, "ok");
    let tamper = "create or replace function analytics.forget_idle_writers() returns void language sql as $$ select null::void $$; \
                  create table analytics.my_own (n bigint)";
    database.client().await.batch_execute(tamper).await.unwrap();
    let (health, seen, advice) = finding(UNREACHABLE, Some(database.url()), "schema objects").await;
    assert_eq!(health, "problem");
    assert_eq!(
        seen,
        "0 missing, 1 changed, 2 added: changed function analytics.forget_idle_writers(), \
         added column analytics.my_own.n, added table analytics.my_own"
    );
    assert!(advice.contains("analytics-cli migrate up"), "{advice}");
}

async fn pending_migrations_are_reported_with_the_command_that_applies_them(flavour: Flavour) {
    let database = TestDatabase::without_schema(flavour).await;
    let run = doctor(UNREACHABLE, Some(database.url()), &[]).await;
    assert_eq!(run.code, 1);
    let line = run.stdout.lines().find(|line| line.contains("  migrations  ")).unwrap();
    assert!(line.starts_with("problem") && line.contains("; run `analytics-cli migrate up`"), "{line}");
    for check in ["schema objects", "settler", "open hours"] {
        let line = run.stdout.lines().find(|line| line.contains(&format!("  {check}  "))).unwrap();
        assert!(line.starts_with("skipped") && line.ends_with("; migrate it first"), "{line}");
    }

    schema::migrate(database.store(), Some(flavour)).await.unwrap();
    for (statement, expected) in [
        ("update analytics.schema_history set checksum = '1' where version = 3", "migrate verify"),
        (
            "update analytics.settings set oldest_compatible = 9999; \
             update analytics.schema_history set version = 9999 where version = 3",
            "Install that version",
        ),
    ] {
        database.client().await.batch_execute(statement).await.unwrap();
        let (health, _, advice) = finding(UNREACHABLE, Some(database.url()), "migrations").await;
        assert_eq!(health, "problem", "{statement}");
        assert!(advice.contains(expected), "{statement}: {advice}");
    }
}

#[tokio::test]
async fn without_a_server_and_without_a_database_there_is_little_to_look_at() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!("http://127.0.0.1:{port}");
    let run = doctor(&server, None, &[]).await;
    assert_eq!(run.code, 1);
    assert_eq!(run.stderr, "24 checks: problems 1, warnings 0\n");
    insta::assert_snapshot!("nothing_there", normalised(&run.stdout, &[(&server, "SERVER")]));

    let url = format!("postgres://ann:secret@127.0.0.1:{port}/x");
    let run = doctor(&server, Some(&url), &[]).await;
    assert_eq!(run.code, 1);
    let line = run.stdout.lines().find(|line| line.contains("  database  ")).unwrap();
    assert!(line.starts_with("problem") && line.contains("--database-url (or DATABASE_URL) is right"), "{line}");
    assert!(!run.stdout.contains("secret"), "{}", run.stdout);
}

#[tokio::test]
async fn a_check_without_an_answer_ends_and_the_other_checks_continue() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://127.0.0.1:{port}/x");
    let run = doctor(&format!("http://127.0.0.1:{port}"), Some(&url), &["--timeout", "100ms"]).await;
    assert_eq!(run.code, 1);
    assert_eq!(run.stderr, "24 checks: problems 2, warnings 0\n", "{}", run.stdout);
    assert!(run.stdout.contains("with a longer --timeout"), "{}", run.stdout);
}

#[tokio::test]
async fn what_is_wrong_on_the_command_line_keeps_it_from_running() {
    for arguments in
        [&["--timeout", "soon"][..], &["--timeout", "0s"], &["--database-url", "nonsense"], &["--profile", "x"]]
    {
        let run = doctor(UNREACHABLE, None, arguments).await;
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn hours_that_wait_to_be_settled_are_reported_and_a_contradiction_is_a_problem() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let at = Timestamp::from_millis(1_431_856_800_000).unwrap();
    let event = SiteEvent::nameless(Event { at, user: UserName::new("anna").unwrap(), kind: EventKind::Click });
    assert_eq!(Writer::new(database.store().clone()).ingest(&[event]).await.unwrap(), Ingested::Stored);
    let client = database.client().await;
    for (statement, health, expected) in [
        ("select 1", "ok", "1 ended hours wait to be settled, the oldest 2015-05-17T10:00:00Z"),
        ("update analytics.hour_counts set written_at = now() - interval '2 hours'", "warning", "start analyticsd"),
        (
            "insert into analytics.settled_hours select site, hour, now(), unique_users, clicks, impressions from analytics.hour_counts",
            "problem",
            "verify --repair",
        ),
    ] {
        client.batch_execute(statement).await.unwrap();
        let (found, seen, advice) = finding(UNREACHABLE, Some(database.url()), "open hours").await;
        assert_eq!(found, health, "{seen}");
        assert!(format!("{seen}; {advice}").contains(expected), "{seen}; {advice}");
    }
    let (health, seen, _) = finding(UNREACHABLE, Some(database.url()), "settler").await;
    assert_eq!((health.as_str(), seen.as_str()), ("warning", "no daemon settles the hours of this database"));
}

/// A server whose clock shows another time, and whose version is another one.
fn server_at(date: chrono::DateTime<chrono::Utc>) -> TestServer {
    let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    TestServer::with(move |request| {
        let body = match request.head.as_str() {
            "GET /healthz" => "ok\n",
            "GET /readyz" => "ready\n",
            _ => r#"{"info":{"version":"99.0.0"}}"#,
        };
        Answer::Dated(body.to_owned(), date.clone())
    })
}

#[tokio::test]
async fn a_wrong_clock_of_the_server_is_a_problem() {
    let now = chrono::Utc::now();
    for (date, expected, seen) in [
        (now + chrono::TimeDelta::hours(1), "problem", "ahead of this machine's"),
        (now - chrono::TimeDelta::hours(1), "problem", "behind this machine's"),
    ] {
        let server = server_at(date);
        let (health, what, advice) = finding(&server.url(), None, "server clock").await;
        assert_eq!(health, expected);
        assert!(what.contains(seen) && advice.contains("NTP"), "{what}; {advice}");
    }
    let (health, seen, advice) = finding(&server_at(now).url(), None, "server version").await;
    assert_eq!((health.as_str(), seen.as_str()), ("warning", "99.0.0"));
    assert!(advice.contains("install the same version of both"), "{advice}");
}

#[tokio::test]
async fn a_foreign_server_is_a_problem() {
    let server = TestServer::answering(&[Answer::Text("<html>".to_owned())]);
    let (health, seen, _) = finding(&server.url(), None, "server").await;
    assert_eq!(health, "problem");
    assert!(seen.contains("which is no answer of analyticsd"), "{seen}");
}

/// The setting holds for a whole server, so this one is the test's own.
#[tokio::test]
async fn a_server_that_does_not_sync_is_a_problem() {
    let server = PrivateServer::start().await.unwrap();
    assert_eq!(finding(UNREACHABLE, Some(server.url()), "durability").await.0, "ok");
    let client = server.client().await;
    for statement in ["alter system set fsync = off", "select pg_reload_conf()"] {
        client.batch_execute(statement).await.unwrap();
    }
    while client.query_one("show fsync", &[]).await.unwrap().get::<_, &str>(0) == "on" {
        tokio::task::yield_now().await;
    }
    let (health, seen, advice) = finding(UNREACHABLE, Some(server.url()), "durability").await;
    assert_eq!(health, "problem");
    assert!(seen.starts_with("fsync off, full_page_writes on, synchronous_commit on"), "{seen}");
    assert!(advice.contains("fsync = on"), "{advice}");
}

#[tokio::test]
async fn a_login_that_may_only_read_can_make_every_check() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let url = database.url_of_member(&[roles::READER]).await;
    let (health, seen, advice) = finding(UNREACHABLE, Some(&url), "rights").await;
    assert!(health == "warning" && seen.contains("every login"), "{seen}");
    assert!(advice.contains("`grant connect on database ") && advice.contains(" from public`"), "{advice}");
    database.close_to_strangers(Flavour::Postgres).await;
    let run = doctor(UNREACHABLE, Some(&url), &[]).await;
    assert_eq!(run.stderr, "24 checks: problems 1, warnings 1\n", "no server, no settler: {}", run.stdout);
}

/// Each of these jobs does what `drop_chunks` does, beside the daemon.
#[tokio::test]
async fn a_retention_policy_of_the_extension_is_a_problem_and_a_refresh_policy_a_warning() {
    let database = TestDatabase::new(Flavour::Timescale).await;
    let client = database.client().await;
    assert_eq!(finding(UNREACHABLE, Some(database.url()), "foreign jobs").await.0, "ok");
    for (statement, health, named) in [
        (
            // A job needs an owner who may log in.
            "alter materialized view analytics.events_hourly owner to current_user; \
             select add_continuous_aggregate_policy('analytics.events_hourly', interval '3 days', interval '1 hour', interval '1 hour')",
            "warning",
            "refresh policy ",
        ),
        ("select add_retention_policy('analytics.events', interval '30 days')", "problem", "retention policy "),
    ] {
        client.batch_execute(statement).await.unwrap();
        let (found, seen, advice) = finding(UNREACHABLE, Some(database.url()), "foreign jobs").await;
        assert_eq!(found, health, "{seen}");
        assert!(seen.contains(named) && advice.contains("remove them"), "{seen}; {advice}");
    }
}

/// Debian's packages `postgresql-15-partman` and `postgresql-15-cron`; the latter only where the server loads it.
#[tokio::test]
async fn a_job_of_another_program_is_a_problem_where_that_is_installed() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let client = database.client().await;
    let is_there = "select exists (select from pg_available_extensions where name = 'pg_partman')";
    if !client.query_one(is_there, &[]).await.unwrap().get::<_, bool>(0) {
        eprintln!("SKIPPED: pg_partman is not installed");
        return;
    }
    client.batch_execute("create schema partman; create extension pg_partman schema partman").await.unwrap();
    let (health, seen, _) = finding(UNREACHABLE, Some(database.url()), "foreign jobs").await;
    assert_eq!(health, "ok", "it manages others: {seen}");
    let manages = "insert into partman.part_config (parent_table, control, partition_type, partition_interval, retention) \
                   values ('analytics.events', 'at', 'native', '1 day', '30 days')";
    client.batch_execute(manages).await.unwrap();
    let (health, seen, _) = finding(UNREACHABLE, Some(database.url()), "foreign jobs").await;
    assert!(health == "problem" && seen.contains("pg_partman"), "{health}: {seen}");
}

#[tokio::test]
async fn hours_that_lack_raw_events_and_a_bound_in_the_future_are_named() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let client = database.client().await;
    for (check, statement, health, expected) in [
        (
            "closed hours",
            "insert into analytics.settled_hours values (0, '2015-05-17 10:00+00', now(), 1, 1, 0, now())",
            "problem",
            "2015-05-17T10:00:00Z",
        ),
        ("retention", "update analytics.settings set retention = interval '720 hours'", "warning", "retention confirm"),
        (
            "retention",
            "update analytics.settings set accepts_from = now() + interval '470 days'",
            "problem",
            "retention confirm",
        ),
    ] {
        assert_ne!(finding(UNREACHABLE, Some(database.url()), check).await.0, health);
        client.batch_execute(statement).await.unwrap();
        let (found, seen, advice) = finding(UNREACHABLE, Some(database.url()), check).await;
        assert_eq!(found, health, "{seen}");
        assert!(format!("{seen}; {advice}").contains(expected), "{seen}; {advice}");
    }
}

#[tokio::test]
async fn a_pool_of_transactions_is_a_problem_and_migrating_through_it_is_refused() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let sessions = Pooler::start(database.url(), PoolMode::Session, 20, "").await;
    assert_eq!(finding(UNREACHABLE, Some(sessions.url()), "sessions").await.0, "ok");
    let transactions = Pooler::start(database.url(), PoolMode::Transaction, 8, "").await;
    let (health, seen, advice) = finding(UNREACHABLE, Some(transactions.url()), "sessions").await;
    assert_eq!(health, "problem", "{seen}");
    assert!(advice.contains("pool_mode = session"), "{advice}");
    let mut migrate = command(&["migrate", "up"]);
    migrate.env("DATABASE_URL", transactions.url());
    let run: Run = tokio::task::spawn_blocking(move || migrate.output().unwrap().into()).await.unwrap();
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("pool_mode = session"), "{}", run.stderr);
}
