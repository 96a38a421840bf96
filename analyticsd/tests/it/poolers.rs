//! The daemon behind poolers of connections.

use std::{process::Stdio, time::Duration};

use chrono::Utc;
use db::Flavour;
use harness::{Daemon, PoolMode, Pooler, TestDatabase};
use model::access::Scope;
use reqwest::StatusCode;

use crate::{
    support::{at, counts},
    tokens::{answers, token},
};

/// Starts a daemon that must end by itself, and returns its exit code and its output.
async fn ends(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Daemon::command();
    command.args(["--listen", "127.0.0.1:0"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_mins(1), output).await.expect("it ends").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_daemon_behind_a_session_pooler_stores_counts_settles_and_reads_tokens() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let pooler = Pooler::start(database.url(), PoolMode::Session, 20, "").await;
    let daemon = Daemon::start_with(["--migrate", "--settle-after", "0s", "--database-url", pooler.url()]).await;
    let (now, late) = (Utc::now(), at("2015-05-17T10:00:00Z"));
    for at in [now, late] {
        for user in 0..50 {
            assert_eq!(daemon.post(at, &format!("user-{user}"), "click").await, StatusCode::NO_CONTENT);
            assert_eq!(daemon.counts(at).await, counts(user + 1, user + 1, 0));
        }
    }
    let client = database.client().await;
    let settles = async {
        while client.query("select from analytics.settled_hours", &[]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), settles).await.expect("the hour is settled");
    assert_eq!(daemon.post(late, "late", "click").await, StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(late).await, counts(51, 51, 0));
    token(&database, &[Scope::Read]).await;
    answers(&daemon, None, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_daemon_behind_a_transaction_pooler_does_not_start_and_names_the_reason() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let pooler = Pooler::start(database.url(), PoolMode::Transaction, 8, "").await;
    let dir = harness::server_dir();
    let spool = dir.path().join("spool");
    for more in [&[][..], &["--migrate"], &["--spool", spool.to_str().unwrap()]] {
        let arguments: Vec<_> = ["--database-url", pooler.url()].iter().chain(more).copied().collect();
        let (code, message) = ends(&arguments).await;
        assert_eq!(code, Some(2), "{more:?}: {message}");
        assert!(
            message.contains("pool_mode = session") && message.contains("pool_mode = transaction"),
            "{more:?}: {message}"
        );
    }
}

#[tokio::test]
async fn a_daemon_that_spools_stops_when_the_database_returns_as_a_transaction_pooler() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let dir = harness::server_dir();
    let spool = dir.path().join("spool");
    let mut pooler = Pooler::start(database.url(), PoolMode::Transaction, 8, "").await;
    pooler.stop();
    let mut command = Daemon::command();
    command.args(["--database-url", pooler.url(), "--allow-anonymous", "--spool"]).arg(&spool);
    let daemon = Daemon::start_command(command).await;
    let now = Utc::now();
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::ACCEPTED);
    pooler.start_again().await;
    assert_eq!(daemon.ended().await.code(), Some(2), "its events stay in the spool");

    // With the URL of the database itself nothing is lost.
    let daemon = Daemon::start_with(["--database-url", database.url(), "--spool", spool.to_str().unwrap()]).await;
    let stored = async {
        while daemon.counts(now).await != counts(1, 1, 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), stored).await.expect("the spooled events are stored");
}
