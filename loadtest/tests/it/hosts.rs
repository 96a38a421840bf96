//! Several hosts, which are replicas of one counter.

use db::Flavour;
use harness::{Daemon, TestDatabase};
use serde_json::Value;

use crate::{
    liar::{Liar, Lie},
    liars::{MANY, run_until_many},
    load, loadtest, result_of,
};

#[tokio::test]
async fn a_host_that_is_given_twice_is_no_replica() {
    let twice = ["--host", "http://127.0.0.1:1", "--host", "http://127.0.0.1:1/"];
    for arguments in [&twice[..], &[&["merge", "a.json", "b.json"], &twice[..]].concat()] {
        let (code, printed) = result_of(&loadtest().args(arguments).output().await.unwrap());
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains("http://127.0.0.1:1 is given twice as --host"), "{printed}");
    }
}

#[tokio::test]
async fn two_replicas_are_asked_in_turn_and_both_have_counted_everything() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemons = [Daemon::start(database.url()).await, Daemon::start(database.url()).await];
    let reports = tempfile::tempdir().unwrap();
    let arguments = ["--host", daemons[1].url(), "--run-time", "2s", "--freshness-every", "5", "--max-error-rate", "0"];
    let more = ["--report-dir", reports.path().to_str().unwrap()];
    let (code, printed) = result_of(&load(daemons[0].url(), &[&arguments[..], &more].concat()).await);
    assert_eq!(code, Some(0), "{printed}");
    let report: Value = serde_json::from_slice(&std::fs::read(reports.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["runs"][0]["settings"]["hosts"], serde_json::json!([daemons[0].url(), daemons[1].url()]));
    assert!(report["reads"]["pairs"].as_u64() > Some(0), "{report}");
    for daemon in &daemons {
        let hours = report["ledger"]["hours"].as_array().unwrap().iter().filter(|hour| hour["host"] == daemon.url());
        let counted =
            |hour: &Value| hour["counts"]["clicks"].as_u64().unwrap() + hour["counts"]["impressions"].as_u64().unwrap();
        assert_eq!(report["ledger"]["acknowledged"], hours.map(counted).sum::<u64>(), "{report}");
    }
}

#[tokio::test]
async fn a_replica_that_shows_one_event_in_a_hundred_thousand_late_is_found_and_named() {
    // Of one hour, which is read all the time.
    let batches = ["--batch-share", "0.2", "--post-current", "1", "--get-current", "1"];
    let right = Liar::start(Lie::None).await;
    let other = right.replica(Lie::None).await;
    let (code, printed) = run_until_many(&right, &[&["--host", &other.url], &batches[..]].concat()).await;
    assert_eq!(code, Some(0), "{printed}");
    let right = Liar::start(Lie::None).await;
    let late = right.replica(Lie::ShowsOneLate(MANY)).await;
    let (code, printed) = run_until_many(&right, &[&["--host", &late.url], &batches[..]].concat()).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED reads") && printed.contains("ok     ledger"), "{printed}");
    assert!(printed.contains(&format!("00Z at {}: ", late.url)) && printed.contains("1 missing"), "{printed}");
    assert!(!printed.contains(&format!("00Z at {}: ", right.url)), "{printed}");
}

#[tokio::test]
async fn what_was_written_is_read_back_from_another_replica() {
    // Nothing else is read, so the late replica is found by the pairs alone.
    let right = Liar::start(Lie::None).await;
    let late = right.replica(Lie::ShowsOneLate(300)).await;
    let arguments = ["--host", &*late.url, "--post-share", "1", "--freshness-every", "1", "--run-time", "2s"];
    let (code, printed) = result_of(&load(&right.url, &arguments).await);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED reads"), "{printed}");
}

#[tokio::test]
async fn a_replica_of_another_database_fails_the_run() {
    let (one, other) = (Liar::start(Lie::None).await, Liar::start(Lie::None).await);
    let (code, printed) = result_of(&load(&one.url, &["--host", &other.url, "--run-time", "1s"]).await);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains(&format!("00Z at {} counts", other.url)), "{printed}");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_named_before_the_run() {
    let there = Liar::start(Lie::None).await;
    let (code, printed) = result_of(&load(&there.url, &["--host", "http://127.0.0.1:1", "--run-time", "1s"]).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("http://127.0.0.1:1/analytics") && printed.contains("does not answer"), "{printed}");
}
