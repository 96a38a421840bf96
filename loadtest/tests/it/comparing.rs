//! Two servers beside each other, and a run beside earlier ones.

use std::path::Path;

use db::Flavour;
use harness::{Daemon, TestDatabase};

use crate::{
    liar::{Liar, Lie},
    load, result_of,
};

/// Of servers that take so many milliseconds for each answer.
async fn compare(old: u64, new: u64, gates: &[&str]) -> (Option<i32>, String) {
    let (old, new) = (Liar::start(Lie::Takes(old)).await, Liar::start(Lie::Takes(new)).await);
    let arguments = ["--compare-host", &old.url, "--round-time", "200ms", "--rounds", "15"];
    result_of(&load(&new.url, &[&arguments[..], gates].concat()).await)
}

#[tokio::test]
async fn a_server_that_is_slower_by_a_fifth_is_told_from_one_that_is_not() {
    let (code, printed) = compare(20, 25, &[]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED gate: ratio of"), "{printed}");
    let (code, printed) = compare(20, 20, &[]).await;
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = compare(20, 25, &["--max-p50-ratio", "2"]).await;
    assert_eq!(code, Some(0), "{printed}");
}

#[tokio::test]
async fn of_two_servers_that_are_compared_each_must_count_its_own_events() {
    for (old, new) in [(Lie::LosesOne(300), Lie::None), (Lie::None, Lie::CountsOneTwice(300))] {
        let (old, new) = (Liar::start(old).await, Liar::start(new).await);
        let arguments =
            ["--compare-host", &old.url, "--round-time", "200ms", "--rounds", "5", "--max-p50-ratio", "100"];
        let (code, printed) = result_of(&load(&new.url, &arguments).await);
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("FAILED ledger"), "{printed}");
    }
}

#[tokio::test]
async fn two_daemons_of_one_database_have_one_ledger() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (old, new) = (Daemon::start(database.url()).await, Daemon::start(database.url()).await);
    let arguments = ["--compare-host", old.url(), "--round-time", "200ms", "--rounds", "5", "--max-p50-ratio", "100"];
    let (code, printed) = result_of(&load(new.url(), &arguments).await);
    assert_eq!(code, Some(0), "{printed}");
}

async fn run(server: &Liar, dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let own = ["--run-time", "1s", "--report-dir", dir.to_str().unwrap()];
    result_of(&load(&server.url, &[&own[..], arguments].concat()).await)
}

#[tokio::test]
async fn a_run_is_told_beside_an_earlier_one_and_fails_if_it_is_twice_as_slow_or_has_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (earlier, later) = (dir.path().join("earlier"), dir.path().join("later"));
    let (code, printed) = run(&Liar::start(Lie::Takes(20)).await, &earlier, &[]).await;
    assert_eq!(code, Some(0), "{printed}");
    let report = earlier.join("report.json");
    let arguments = ["--baseline", report.to_str().unwrap(), "--post-share", "0.9"];
    let (_, printed) = run(&Liar::start(Lie::Takes(20)).await, &later, &arguments).await;
    assert!(printed.contains("which had another load: mix.post_share was 0.5 and is 0.9"), "{printed}");
    for (lie, expected, said) in [
        (Lie::Takes(25), 0, "noise may explain"),
        (Lie::Takes(100), 1, "FAILED gate: ratio of p50"),
        (Lie::RefusesSome, 1, "FAILED gate: error rate, as in the earlier runs"),
    ] {
        let arguments = ["--baseline", report.to_str().unwrap(), "--max-p50-ratio", "1.1", "--max-p99-ratio", "1.5"];
        let (code, printed) = run(&Liar::start(lie).await, &later, &arguments).await;
        assert_eq!(code, Some(expected), "{lie:?}: {printed}");
        assert!(printed.contains(said) && !printed.contains("another load"), "{lie:?}: {printed}");
    }
}

#[tokio::test]
async fn a_baseline_that_is_no_report_is_an_error_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let (code, printed) = result_of(&load("http://127.0.0.1:1", &["--baseline", dir.path().to_str().unwrap()]).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("--baseline") && !printed.contains("is analyticsd running?"), "{printed}");
}
