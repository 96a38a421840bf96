//! Batches: compressed, under keys, of sources, and for a counter of several databases.

use db::Flavour;
use harness::{Daemon, TestDatabase, TestShards};
use serde_json::Value;

use crate::{
    liar::{Liar, Lie},
    liars::{MANY, run_until_many},
    load, result_of,
};

const ARGUMENTS: [&str; 10] = [
    "--run-time",
    "2s",
    "--batch-share",
    "0.3",
    "--batch-size",
    "20",
    "--freshness-every",
    "10",
    "--max-error-rate",
    "0",
];

async fn shards() -> (TestShards, Daemon) {
    let shards = TestShards::new(&[Flavour::Postgres; 3]).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    (shards, daemon)
}

#[tokio::test]
async fn compressed_batches_are_counted_as_others_are() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for encoding in ["gzip", "zstd"] {
        // A machine that has other things to do may refuse one.
        let more = ["--batch-encoding", encoding, "--retries", "5"];
        let (code, printed) = result_of(&load(daemon.url(), &[&ARGUMENTS[..], &more].concat()).await);
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains("BATCH current"), "{printed}");
    }
}

#[tokio::test]
async fn a_counter_of_several_databases_takes_batches_under_keys_and_of_sources_and_no_others() {
    let (shards, daemon) = shards().await;
    let (code, printed) = result_of(&load(daemon.url(), &ARGUMENTS).await);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("ok     ledger") && printed.contains("source is not given, and neither is"), "{printed}");

    let reports = tempfile::tempdir().unwrap();
    let more = ["--keys", "--source-share", "0.5", "--report-dir", reports.path().to_str().unwrap()];
    let (code, printed) = result_of(&load(daemon.url(), &[&ARGUMENTS[..], &more].concat()).await);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("BATCH current") && printed.contains("SOURCE current"), "{printed}");
    let report: Value = serde_json::from_slice(&std::fs::read(reports.path().join("report.json")).unwrap()).unwrap();
    assert!(report["ledger"]["acknowledged"].as_u64() > Some(0), "{report}");
    for shard in shards.shards().iter() {
        assert!(!shard.stored_events().await.unwrap().is_empty(), "each shard has events");
    }
}

#[tokio::test]
async fn sources_of_several_users_are_counted_once_through_two_daemons_and_stand_where_they_were_acknowledged() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemons = [Daemon::start(database.url()).await, Daemon::start(database.url()).await];
    let more = ["--source-share", "1", "--host", daemons[1].url(), "--post-share", "1", "--batch-share", "1"];
    let (code, printed) = result_of(&load(daemons[0].url(), &[&ARGUMENTS[..2], &ARGUMENTS[4..], &more].concat()).await);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("SOURCE current") && !printed.contains("BATCH current"), "{printed}");
    let sources: Value = daemons[0].get("/analytics/sources?prefix=loadtest-").await.json().await.unwrap();
    let positions = sources["sources"].as_array().unwrap().iter().map(|source| source["position"].as_u64().unwrap());
    let stored: u64 = database.store().stored_events().await.unwrap().iter().map(|(.., count)| count).sum();
    assert_eq!(positions.clone().count(), 4, "each of four users has one: {sources}");
    assert_eq!(positions.sum::<u64>(), stored);
}

#[tokio::test]
async fn one_lost_event_in_a_hundred_thousand_is_found_in_compressed_batches_and_under_keys() {
    for more in [["--batch-encoding", "gzip"], ["--batch-encoding", "zstd"], ["--keys", "--batch-share=1"]] {
        let arguments = [&["--batch-share", "0.2"][..if more[0] == "--keys" { 0 } else { 2 }], &more].concat();
        let (code, printed) = run_until_many(&Liar::start(Lie::None).await, &arguments).await;
        assert_eq!(code, Some(0), "{printed}");
        let (code, printed) = run_until_many(&Liar::start(Lie::LosesOne(MANY)).await, &arguments).await;
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("FAILED ledger") && printed.contains(": 1 missing"), "{printed}");
    }
}

#[tokio::test]
async fn a_batch_of_a_source_whose_answer_is_lost_is_sent_until_its_fate_is_known_and_found_if_it_is_stored_twice() {
    let sources = ["--batch-share", "0.5", "--source-share", "1", "--max-error-rate", "0.9"];
    let (code, printed) = run_until_many(&Liar::start(Lie::LosesAnswer(MANY)).await, &sources).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains(" 0 of unknown fate") && printed.contains("SOURCE"), "{printed}");
    let (code, printed) = run_until_many(&Liar::start(Lie::StoresAgain(MANY)).await, &sources).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED ledger") && printed.contains("too many"), "{printed}");
}

#[tokio::test]
async fn one_lost_event_in_a_hundred_thousand_is_found_in_batches_of_sources() {
    let sources = ["--batch-share", "0.5", "--source-share", "1"];
    let (code, printed) = run_until_many(&Liar::start(Lie::LosesOne(MANY)).await, &sources).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED ledger") && printed.contains(": 1 missing"), "{printed}");
}

#[tokio::test]
async fn what_is_stored_in_part_is_of_unknown_fate_until_the_same_batch_is_acknowledged() {
    let batches = ["--batch-share", "0.2", "--keys", "--max-error-rate", "0.9"];
    let (code, printed) = run_until_many(&Liar::start(Lie::StoresInPart(MANY)).await, &batches).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains(" 1000 of unknown fate") && printed.contains("Stored in part"), "{printed}");
    let retried = [&batches[..], &["--retries", "2"]].concat();
    let (code, printed) = run_until_many(&Liar::start(Lie::StoresInPart(MANY)).await, &retried).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains(" 0 of unknown fate") && printed.contains("1 retries were made"), "{printed}");
}
