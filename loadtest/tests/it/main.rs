//! The harness as people run it, against the real daemon.

#![allow(clippy::unwrap_used)]

use std::process::Output;

use db::Flavour;
use testkit::{Daemon, TestDatabase};
use tokio::process::Command;

async fn load(host: &str) -> Output {
    let arguments = ["--host", host, "--users", "4", "--run-time", "2s", "--no-reset-metrics"];
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().await.unwrap()
}

#[tokio::test]
async fn a_run_against_the_daemon_passes_and_touches_current_and_past_hours() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let output = load(daemon.url()).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));

    let hours = database.store().brute_force_counts().await.unwrap();
    assert!(hours.len() > 2, "past hours were written to: {hours:?}");
    for (hour, expected) in hours {
        assert_eq!(daemon.counts(hour.start().to_utc()).await, expected);
    }
}

#[tokio::test]
async fn a_run_against_a_daemon_without_its_database_fails() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    database.client().await.batch_execute("drop schema analytics cascade").await.unwrap();
    assert_eq!(load(daemon.url()).await.status.code(), Some(1));
}
