use std::{io::Write, process::Stdio, time::Duration};

use db::{AccessTokens, Flavour, NewAccessToken};
use harness::{Daemon, TestDatabase};
use model::access::{IssuedToken, Scope};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use crate::{load, loadtest, result_of};

#[tokio::test]
async fn a_run_against_the_daemon_passes_and_all_that_it_acknowledged_is_in_the_database() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let reports = tempfile::tempdir().unwrap();
    let dir = reports.path().join("made/if/need/be");
    let mut arguments = vec!["--run-time", "2s", "--batch-share", "0.1", "--batch-size", "7", "--freshness-every", "5"];
    arguments.extend(["--max-error-rate", "0", "--min-rps", "1", "--report-dir", dir.to_str().unwrap()]);
    let (code, printed) = result_of(&load(daemon.url(), &arguments).await);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("POST current") && printed.contains("ok     ledger"), "{printed}");

    let hours = database.store().brute_force_counts().await.unwrap();
    assert!(hours.len() > 2, "past hours were written to: {hours:?}");
    let stored: u64 = hours.iter().map(|(_, counts)| counts.clicks + counts.impressions).sum();
    let report: Value = serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["ledger"]["acknowledged"], stored);
    assert_eq!((&report["passed"], &report["reads"]["wrong"]), (&Value::Bool(true), &Value::from(0)));
    assert!(report["reads"]["pairs"].as_u64() > Some(0), "{report}");
    let checked = report["ledger"]["hours"].as_array().unwrap();
    let counted = checked.iter().filter(|hour| hour["counts"]["unique_users"] != 0);
    assert_eq!(counted.count(), hours.len());
    assert!(checked.len() > hours.len(), "hours without an event are checked too");
    for hour in report["ledger"]["hours"].as_array().unwrap() {
        let [counts, least, most] = ["counts", "least", "most"].map(|key| hour[key]["unique_users"].as_u64().unwrap());
        assert!(least <= counts && counts <= most, "{hour}");
    }
    assert_eq!(report["runs"][0]["settings"]["run_time_seconds"], 2.0);
    for plot in ["throughput.svg", "latency.svg", "percentiles.svg", "heat-map.svg"] {
        assert!(std::fs::read_to_string(dir.join(plot)).unwrap().ends_with("</svg>\n"));
    }
    assert!(std::fs::read_to_string(dir.join("goose.html")).unwrap().contains("<html"));
}

#[tokio::test]
async fn a_daemon_that_requires_a_token_is_loaded_with_one_and_refuses_requests_without() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let issued = IssuedToken::secret([7; IssuedToken::RANDOM_BYTES]);
    let token =
        NewAccessToken::new(&issued, "load".parse().unwrap(), [Scope::Write, Scope::Read].into_iter().collect());
    assert!(AccessTokens(database.store()).create(&token).await.unwrap());
    let daemon = Daemon::start(database.url()).await;
    let arguments = ["--run-time", "1s", "--batch-share", "0.1", "--batch-size", "3", "--max-error-rate", "0"];
    let with_token = loadtest()
        .args(["--host", daemon.url(), "--users", "4"])
        .args(arguments)
        .env("ANALYTICS_TOKEN", &issued.text)
        .output()
        .await
        .unwrap();
    let (code, printed) = result_of(&with_token);
    assert_eq!(code, Some(0), "{printed}");
    assert!(!printed.contains(&issued.text), "a token is printed to nobody");
    let (code, printed) = result_of(&load(daemon.url(), &arguments).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("401"), "{printed}");
}

#[tokio::test]
async fn a_second_run_into_the_same_hours_and_the_same_folder_is_judged_by_its_own_events_alone() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let reports = tempfile::tempdir().unwrap();
    let dir = reports.path().to_str().unwrap();
    std::fs::write(reports.path().join("capacity.svg"), "of an earlier run").unwrap();
    for _ in 0..2 {
        let (code, printed) =
            result_of(&load(daemon.url(), &["--run-time", "1s", "--seed", "7", "--report-dir", dir]).await);
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains("seed 7"), "{printed}");
    }
    assert!(!reports.path().join("capacity.svg").exists(), "this run did not look for the capacity");
}

#[tokio::test]
async fn a_rate_is_kept_by_schedule() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let (code, printed) = result_of(&load(daemon.url(), &["--run-time", "2s", "--rate", "50"]).await);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("ok     rate: 100 of 100 requests"), "{printed}");
}

#[tokio::test]
async fn a_daemon_without_its_database_is_not_loaded() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    database.client().await.batch_execute("drop schema analytics cascade").await.unwrap();
    let (code, printed) = result_of(&load(daemon.url(), &["--run-time", "1s"]).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("503"), "{printed}");
}

#[tokio::test]
async fn standard_output_has_the_report_and_nothing_else() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let output = load(daemon.url(), &["--run-time", "1s"]).await;
    let (report, others) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(report.trim_start().starts_with("requests "), "{report}");
    assert!(others.contains("users launched"), "{others}");
}

#[tokio::test]
async fn an_interrupted_run_is_judged_by_what_was_done() {
    a_run_that_is_ended_by("INT").await;
}

#[tokio::test]
async fn a_terminated_run_is_judged_by_what_was_done() {
    a_run_that_is_ended_by("TERM").await;
}

async fn a_run_that_is_ended_by(signal: &str) {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut run = loadtest()
        .args(["--host", daemon.url(), "--users", "4", "--run-time", "10min"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    lines.next_line().await.unwrap();
    // Something has to be done before it is interrupted.
    let store = database.store();
    let counted = async { while store.brute_force_counts().await.unwrap().is_empty() {} };
    timeout(Duration::from_secs(30), counted).await.expect("the run begins");
    harness::signal(run.id().unwrap(), signal).await.unwrap();
    let output = timeout(Duration::from_mins(1), run.wait_with_output()).await.expect("the run ends").unwrap();
    let (code, printed) = result_of(&output);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("ok     ledger"), "{printed}");
}

#[tokio::test]
async fn a_file_is_replayed_to_end_now() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for second in 0..100 {
        let user = if second % 2 == 0 { "ann" } else { "عمر & co 🎯" };
        let timestamp = 1_431_856_800_000_i64 + second * 60_000;
        writeln!(file, r#"{{"timestamp":{timestamp},"user":"{user}","event":"click"}}"#).unwrap();
    }
    let path = file.path().to_str().unwrap();
    let arguments = ["--replay", path, "--replay-format", "ndjson", "--speed-up", "6000", "--keep-names"];
    for _ in 0..2 {
        let (code, printed) = result_of(&load(daemon.url(), &arguments).await);
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains("100 of 100 requests"), "{printed}");
    }
    let hours = database.store().brute_force_counts().await.unwrap();
    assert_eq!(hours.iter().map(|(_, counts)| counts.clicks).sum::<u64>(), 200);
    assert!(hours.iter().all(|(_, counts)| counts.unique_users <= 2), "{hours:?}");
}
