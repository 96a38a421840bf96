//! A database is dumped while a daemon serves, and restored into an empty one, as docs/operate/backup.md describes.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use db::{Auditor, Flavour, embedded::PostgresBinaries, roles, schema};
use harness::{Daemon, TestDatabase, server_dir};
use model::{Hour, Timestamp};
use reqwest::StatusCode;
use tokio::process::Command;

use crate::support::{at, counts};

/// A program of PostgreSQL, of the server's version.
fn path_of(program: &str, flavour: Flavour) -> PathBuf {
    match env::var_os("TEST_TIMESCALE_BIN") {
        Some(folder) if flavour == Flavour::Timescale => Path::new(&folder).join(program),
        _ => PostgresBinaries::find().expect("PostgreSQL is installed").path(program),
    }
}

/// Whether `pg_dump` is at least as new as the server.
async fn can_dump(database: &TestDatabase, flavour: Flavour) -> bool {
    let output = Command::new(path_of("pg_dump", flavour)).arg("--version").output().await.unwrap();
    let version = String::from_utf8_lossy(&output.stdout);
    let major = version.split([' ', '.']).find_map(|part| part.parse::<i32>().ok()).expect("it prints its version");
    let row =
        database.client().await.query_one("select current_setting('server_version_num')::integer / 10000", &[]).await;
    major >= row.unwrap().get::<_, i32>(0)
}

async fn run(program: &str, flavour: Flavour, arguments: &[&str]) {
    let path = path_of(program, flavour);
    let output = Command::new(path).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn restore(dump: &Path, database: &TestDatabase, flavour: Flavour) {
    let client = database.client().await;
    let from = dump.to_str().unwrap();
    let into = format!("--dbname={}", database.url());
    if flavour == Flavour::Postgres {
        run("pg_restore", flavour, &["--exit-on-error", &into, from]).await;
        return;
    }
    client.batch_execute("create extension if not exists timescaledb").await.unwrap();
    client.execute("select timescaledb_pre_restore()", &[]).await.unwrap();
    run("pg_restore", flavour, &["--exit-on-error", &into, from]).await;
    client.execute("select timescaledb_post_restore()", &[]).await.unwrap();
}

/// Sends an event with its number as its key.
async fn send(daemon: &Daemon, number: u64) -> StatusCode {
    let millis = at("2020-05-17T10:00:00Z").timestamp_millis();
    let line =
        format!("{{\"timestamp\":{millis},\"user\":\"user-{}\",\"event\":\"click\",\"id\":\"{number}\"}}", number % 50);
    daemon.post_batch(line).await.status()
}

/// Whether the chunks of this long ago are columns. The extension's own job may turn others into columns at any time.
async fn is_old_day_in_columns(database: &TestDatabase) -> bool {
    let statement = "select bool_and(is_compressed) from timescaledb_information.chunks where hypertable_schema = 'analytics' \
                     and hypertable_name = 'events' and range_end < '2016-01-01'";
    database.client().await.query_one(statement, &[]).await.unwrap().get(0)
}

async fn a_dump_taken_under_load_is_restored_whole_and_a_daemon_serves_from_it(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    if !can_dump(&database, flavour).await {
        eprintln!("SKIPPED: pg_dump is older than the server; TEST_TIMESCALE_BIN names the folder of one that is not");
        return;
    }
    database.close_to_strangers(flavour).await;
    let daemon = Arc::new(Daemon::start_with(["--database-url", database.url(), "--settle-after", "0s"]).await);
    let settled = at("2015-05-17T10:00:00Z");
    assert_eq!(daemon.post(settled, "anna", "click").await, StatusCode::NO_CONTENT);
    let client = database.client().await;
    while client.query_opt("select from analytics.settled_hours where hour = $1", &[&settled]).await.unwrap().is_none()
    {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    if flavour == Flavour::Timescale {
        let into_columns = "do $$ declare day regclass; begin \
            for day in select show_chunks('analytics.events', older_than => timestamptz '2016-01-01') loop \
            call convert_to_columnstore(day); end loop; end $$";
        // The job may do it at the same moment, and then one of the two fails.
        while !is_old_day_in_columns(&database).await {
            let _ = client.batch_execute(into_columns).await;
        }
    }

    let (acknowledged, is_done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let load = tokio::spawn({
        let (daemon, acknowledged, is_done) = (Arc::clone(&daemon), Arc::clone(&acknowledged), Arc::clone(&is_done));
        async move {
            while !is_done.load(Ordering::Relaxed) {
                let number = acknowledged.load(Ordering::Relaxed);
                assert_eq!(send(&daemon, number).await, StatusCode::NO_CONTENT);
                acknowledged.store(number + 1, Ordering::Relaxed);
            }
        }
    });
    let reached = async |number| {
        while acknowledged.load(Ordering::Relaxed) < number {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    reached(50).await;
    let dir = server_dir();
    let dump = dir.path().join("dump");
    let before = acknowledged.load(Ordering::Relaxed);
    let url = match flavour {
        Flavour::Postgres => database.url_of_member(&[roles::OWNER]).await,
        // Not all of the extension's tables are the owner's.
        Flavour::Timescale => database.url().to_owned(),
    };
    run("pg_dump", flavour, &["--format=custom", "--file", dump.to_str().unwrap(), &url]).await;
    reached(acknowledged.load(Ordering::Relaxed) + 1).await;
    is_done.store(true, Ordering::Relaxed);
    load.await.unwrap();
    let after = acknowledged.load(Ordering::Relaxed);

    let restored = TestDatabase::without_schema(flavour).await;
    restore(&dump, &restored, flavour).await;
    let migrated = schema::migrate(restored.store(), None).await.unwrap();
    assert_eq!((migrated.flavour, migrated.applied.len(), migrated.roles.lacking.len()), (flavour, 0, 0));
    let auditor = Auditor::connect(restored.store()).await.unwrap();
    let everything = Hour::containing(Timestamp::MIN)..=Hour::containing(Timestamp::MAX);
    for part in auditor.parts(&everything).await.unwrap() {
        for hour in auditor.audit(&part, None).await.unwrap() {
            assert_eq!(hour.differences(), [], "{hour:?}");
        }
    }

    if flavour == Flavour::Timescale {
        assert!(is_old_day_in_columns(&restored).await, "it is columns there too");
    }

    // The dump does not contain who may connect.
    restored.close_to_strangers(flavour).await;
    let login = restored.url_of_member(&[roles::DAEMON]).await;
    let second = Daemon::start_with(["--database-url", login.as_str(), "--settle-after", "0s"]).await;
    let load_hour = at("2020-05-17T10:00:00Z");
    let in_dump = second.counts(load_hour).await.clicks;
    assert!(
        (before..=after).contains(&in_dump),
        "{before} were acknowledged before the dump, {after} in the end, and {in_dump} are in it"
    );
    // The first event was acknowledged before the dump, so its key is known; the next one is not in the dump, so it is
    // new.
    assert_eq!(send(&second, 0).await, StatusCode::NO_CONTENT);
    assert_eq!(second.counts(load_hour).await.clicks, in_dump, "its key was in the dump");
    assert_eq!(send(&second, after + 1).await, StatusCode::NO_CONTENT);
    assert_eq!(second.counts(load_hour).await.clicks, in_dump + 1);
    assert_eq!(second.post(settled, "ben", "impression").await, StatusCode::NO_CONTENT);
    assert_eq!(second.counts(settled).await, counts(2, 1, 1), "a settled hour is reopened");
    assert!(second.terminate().await.success());
}

#[tokio::test]
async fn a_dump_of_postgres_taken_under_load_is_restored_whole_and_a_daemon_serves_from_it() {
    a_dump_taken_under_load_is_restored_whole_and_a_daemon_serves_from_it(Flavour::Postgres).await;
}

/// `pg_dump` does not work with the server in WebAssembly.
#[tokio::test]
async fn a_dump_of_timescale_taken_under_load_is_restored_whole_and_a_daemon_serves_from_it() {
    if env::var_os("TEST_TIMESCALE_URL").is_none() {
        eprintln!("SKIPPED: TEST_TIMESCALE_URL names no TimescaleDB server");
        return;
    }
    a_dump_taken_under_load_is_restored_whole_and_a_daemon_serves_from_it(Flavour::Timescale).await;
}
