//! A daemon that cannot store events reports that at `/readyz`, does not make the fault worse, and recovers by itself.

use std::{path::Path, time::Duration};

use chrono::{DateTime, Utc};
use db::{
    Flavour, Store, StoreOptions,
    embedded::{Embedded, EmbeddedOptions},
    schema,
};
use harness::{Daemon, StaleLink, TestDatabase, embedded_options, server_dir};
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use crate::support::{INGEST, at, counts, stored_events, until_waiting};

/// How long a change may take to be visible. Only a failing test reaches it.
const PATIENCE: Duration = Duration::from_mins(1);
const PAST: &str = "2015-05-17T10:00:00Z";

/// A server whose settings a test may change, and a daemon on it.
struct Private {
    server: Embedded,
    options: EmbeddedOptions,
    daemon: Daemon,
    _dir: TempDir,
}

impl Private {
    async fn start() -> Self {
        let dir = server_dir();
        let options = embedded_options(dir.path(), Flavour::Postgres);
        let server = Embedded::start(&options).await.unwrap();
        schema::migrate(&Store::new(server.url(), StoreOptions::default()).unwrap(), None).await.unwrap();
        let daemon = Daemon::start_with(["--database-url", server.url(), "--admin-listen", "127.0.0.1:0"]).await;
        Self { server, options, daemon, _dir: dir }
    }

    async fn client(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(self.server.url(), NoTls).await.expect("there is a place for one more");
        tokio::spawn(connection);
        client
    }

    /// Changes a setting for every session, those that are open too.
    async fn set(&self, setting: &str) {
        let client = self.client().await;
        client.batch_execute("set default_transaction_read_only = off").await.unwrap();
        for statement in [setting, "select pg_reload_conf()"] {
            client.batch_execute(statement).await.unwrap();
        }
    }
}

async fn until_ready(daemon: &Daemon, wanted: StatusCode) -> String {
    let began = Instant::now();
    loop {
        let answer = daemon.get("/readyz").await;
        if answer.status() == wanted {
            return answer.text().await.unwrap();
        }
        assert!(began.elapsed() < PATIENCE, "/readyz does not become {wanted}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn until_stored(daemon: &Daemon, at: DateTime<Utc>, user: &str) {
    let began = Instant::now();
    while daemon.post(at, user, "click").await != StatusCode::NO_CONTENT {
        assert!(began.elapsed() < PATIENCE, "nothing is stored");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A session keeps the setting of the time when it was opened.
#[tokio::test]
async fn read_only_sessions_are_replaced_with_few_attempts() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let client = database.client().await;
    let name: String = client.query_one("select current_database()", &[]).await.unwrap().get(0);
    client.batch_execute(&format!("alter database {name} set default_transaction_read_only = on")).await.unwrap();
    let daemon = Daemon::start(database.url()).await;

    let sessions = async || -> i64 {
        client.batch_execute("select pg_stat_clear_snapshot()").await.unwrap();
        let opened = "select sessions from pg_stat_database where datname = current_database()";
        client.query_one(opened, &[]).await.unwrap().get(0)
    };
    let before = sessions().await;
    let (began, mut refused) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::SERVICE_UNAVAILABLE);
        refused += 1;
    }
    let message = until_ready(&daemon, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(message.contains("the database is read-only"), "{message}");
    let opened = sessions().await - before;
    assert!(refused > 10 && opened <= 60, "{opened} sessions were opened while {refused} requests were refused");

    client.batch_execute(&format!("alter database {name} reset default_transaction_read_only")).await.unwrap();
    until_ready(&daemon, StatusCode::OK).await;
    assert_eq!(daemon.post(Utc::now(), "ben", "click").await, StatusCode::NO_CONTENT);
    assert_eq!(stored_events(&database).await, 1, "the refused event is not stored");
}

/// As sessions do that were open while the extension was updated.
#[tokio::test]
async fn sessions_that_end_at_their_next_statement_are_replaced_unnoticed() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let link = StaleLink::start(database.url()).await;
    let daemon = Daemon::start(link.url()).await;
    let now = Utc::now();
    until_ready(&daemon, StatusCode::OK).await;
    for round in 1..=5 {
        for instant in [now, at(PAST)] {
            assert_eq!(daemon.post(instant, "anna", "click").await, StatusCode::NO_CONTENT);
        }
        link.make_stale();
        // The last result of `/readyz` is valid for half a second.
        sleep(Duration::from_millis(600)).await;
        let (ready, present, past) = tokio::join!(daemon.get("/readyz"), daemon.counts(now), daemon.counts(at(PAST)));
        assert_eq!(ready.status(), StatusCode::OK);
        assert_eq!([present, past], [counts(1, round, 0); 2]);
    }
}

#[tokio::test]
async fn a_daemon_without_traffic_notices_an_outage_and_its_end() {
    let private = Private::start().await;
    until_ready(&private.daemon, StatusCode::OK).await;
    private.set("alter system set default_transaction_read_only = on").await;
    until_ready(&private.daemon, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(private.daemon.metric("analyticsd_lane_storing{lane=\"present\"}").await, Some(0.0));
    private.set("alter system reset default_transaction_read_only").await;
    until_ready(&private.daemon, StatusCode::OK).await;
    assert_eq!(private.daemon.metric("analyticsd_lane_storing{lane=\"present\"}").await, Some(1.0));
    let client = private.client().await;
    let events: i64 = client.query_one("select count(*) from analytics.events", &[]).await.unwrap().get(0);
    let hours: i64 = client.query_one("select count(*) from analytics.hour_counts", &[]).await.unwrap().get(0);
    assert_eq!((events, hours), (0, 0), "its attempts left nothing behind");
}

/// The server ends a commit that waits for a lock after 10 s, and the next one waits again.
#[tokio::test]
async fn a_lock_that_prevents_all_commits_is_reported_at_every_moment() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    until_ready(&daemon, StatusCode::OK).await;
    let mut client = database.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("lock table analytics.events in access exclusive mode").await.unwrap();
    until_ready(&daemon, StatusCode::SERVICE_UNAVAILABLE).await;
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        assert_eq!(daemon.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        sleep(Duration::from_millis(5)).await;
    }
    lock.rollback().await.unwrap();
    until_ready(&daemon, StatusCode::OK).await;
    assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_daemon_that_stores_events_is_ready_though_its_schema_cannot_be_checked() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    until_ready(&daemon, StatusCode::OK).await;
    let mut client = database.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("lock table analytics.schema_history in access exclusive mode").await.unwrap();
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
        assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::NO_CONTENT);
    }
    drop(lock);
}

/// A commit that waits for a lost standby waits for ever, and keeps a connection.
#[tokio::test]
async fn commits_that_wait_for_a_lost_standby_take_few_connections_and_counts_are_read() {
    let private = Private::start().await;
    let daemon = &private.daemon;
    let past = at(PAST);
    until_stored(daemon, past, "anna").await;
    private.set("alter system set synchronous_standby_names = 'nobody'").await;

    let client = private.client().await;
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < Duration::from_secs(25) {
        let requests = async {
            let batch = format!("{{\"timestamp\":{},\"user\":\"ben\",\"event\":\"click\"}}", past.timestamp_millis());
            tokio::join!(
                daemon.post(Utc::now(), "ben", "click"),
                daemon.post(past, "ben", "click"),
                daemon.post_batch(batch)
            );
        };
        // Their connections may be closed, or they may wait.
        let _ = tokio::time::timeout(Duration::from_millis(200), requests).await;
        let open = "select count(*) from pg_stat_activity where application_name like 'analyticsd%'";
        most = most.max(client.query_one(open, &[]).await.unwrap().get::<_, i64>(0));
    }
    assert!(most <= 30, "{most} connections of the server were taken");
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(daemon.get(&format!("/analytics?timestamp={}", past.timestamp_millis())).await.status(), StatusCode::OK);

    private.set("alter system reset synchronous_standby_names").await;
    until_stored(daemon, past, "carl").await;
    until_ready(daemon, StatusCode::OK).await;
}

/// As with a standby that lagged behind and lacks the last commits when it takes over.

#[tokio::test]
async fn events_that_a_database_lost_by_going_back_in_time_are_counted_and_recorded() {
    a_loss_is_counted_and_noted(false).await;
}

/// As in most failovers.
#[tokio::test]
async fn lost_events_are_counted_and_recorded_also_after_a_long_outage_within_a_commit() {
    a_loss_is_counted_and_noted(true).await;
}

async fn a_loss_is_counted_and_noted(goes_away_in_the_middle_of_a_commit: bool) {
    let private = Private::start().await;
    let Private { server, options, daemon, _dir: dir } = private;
    let now = Utc::now();
    until_stored(&daemon, now, "anna").await;
    server.stop().await.unwrap();
    let earlier = server_dir();
    copy(dir.path(), earlier.path());

    let mut server = Embedded::start(&options).await.unwrap();
    for user in ["ben", "carl", "dora"] {
        until_stored(&daemon, now, user).await;
    }
    if goes_away_in_the_middle_of_a_commit {
        let (mut client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let lock = client.transaction().await.unwrap();
        lock.batch_execute("lock table analytics.hour_counts in exclusive mode").await.unwrap();
        let path = format!("{}/analytics?timestamp={}&user=eve&event=click", daemon.url(), now.timestamp_millis());
        let sent = reqwest::Client::new().post(path).send();
        let (sent, ()) = tokio::join!(sent, async {
            until_waiting(lock.client(), INGEST, 1).await;
            // All at once, so that no lock is released before.
            let postmaster = std::fs::read_to_string(dir.path().join("native/data/postmaster.pid")).unwrap();
            let killed =
                std::process::Command::new("kill").args(["-QUIT", postmaster.lines().next().unwrap()]).status();
            assert!(killed.unwrap().success());
            // A regular stop that came first would end its sessions one by one, and release their locks.
            server.ended().await;
            // The exit code of a killed server does not matter.
            let _ = server.stop().await;
        });
        assert!(sent.is_err(), "its outcome is not known: {sent:?}");
    } else {
        server.stop().await.unwrap();
    }
    std::fs::remove_dir_all(dir.path().join("native")).unwrap();
    copy(earlier.path(), dir.path());

    let server = Embedded::start(&options).await.unwrap();
    let began = Instant::now();
    while daemon.metric("analyticsd_lost_events_total").await != Some(3.0) {
        assert!(
            began.elapsed() < PATIENCE,
            "the loss is not noticed: {:?}",
            daemon.metric("analyticsd_lost_events_total").await
        );
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(daemon.metric("analyticsd_lost_batches_total").await, Some(3.0));
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    while client.query("select from analytics.losses where batches = 3 and events = 3", &[]).await.unwrap().is_empty() {
        assert!(began.elapsed() < PATIENCE, "the loss is not noted");
        sleep(Duration::from_millis(50)).await;
    }
    until_stored(&daemon, now, "ben").await;
    assert_eq!(daemon.counts(now).await, counts(2, 2, 0), "the events that are left, and the new ones");
    assert!(daemon.terminate().await.success());
    server.stop().await.unwrap();
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from.join("native")).arg(to).status().unwrap();
    assert!(status.success());
}
