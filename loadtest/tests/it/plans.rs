//! Plans of a run: stages, an end before the time, and the search of the capacity.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    liar::{Liar, Lie},
    load, loadtest, result_of,
};

fn report(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn a_rate_changes_in_stages_each_of_which_has_gates_of_its_own() {
    let liar = Liar::start(Lie::None).await;
    let dir = tempfile::tempdir().unwrap();
    // So many users that one is free when a request is due, also on a machine that has other things to do.
    let stages = ["--host", &liar.url, "--users", "50", "--stages", "1s:100,1s:100,1s:0"];
    let reports = ["--report-dir", dir.path().to_str().unwrap()];
    let (code, printed) = result_of(&loadtest().args([&stages[..], &reports].concat()).output().await.unwrap());
    assert_eq!(code, Some(0), "{printed}");
    let report = report(dir.path());
    let due: Vec<u64> = report["plan"].as_array().unwrap().iter().map(|step| step["due"].as_u64().unwrap()).collect();
    assert_eq!(due, [50, 100, 50]);
    assert!(printed.contains("of 200 requests were made"), "{printed}");

    let gates = ["--min-rps", "@2=20", "--min-rps", "@1=1000"];
    let (code, printed) = result_of(&loadtest().args([&stages[..], &gates].concat()).output().await.unwrap());
    assert_eq!(code, Some(1), "{printed}");
    let line = |part: &str| printed.lines().find(|line| line.contains(part)).unwrap_or_default().to_owned();
    assert!(line("step 1").starts_with("FAILED"), "{printed}");
    assert!(line("step 2").starts_with("ok"), "{printed}");
}

#[tokio::test]
async fn users_come_and_go_in_stages() {
    let liar = Liar::start(Lie::Takes(20)).await;
    let dir = tempfile::tempdir().unwrap();
    let arguments =
        ["--host", &liar.url, "--user-stages", "0s:4,1s:4,0s:0,1s:0", "--report-dir", dir.path().to_str().unwrap()];
    let (code, printed) = result_of(&loadtest().args(arguments).output().await.unwrap());
    assert_eq!(code, Some(0), "{printed}");
    let steps = report(dir.path())["steps"].clone();
    assert!(steps[0]["requests"].as_u64() > Some(20) && steps[1]["requests"].as_u64() <= Some(4), "{steps}");
}

#[tokio::test]
async fn a_run_that_cannot_pass_any_more_ends_with_a_verdict_if_it_is_asked_to() {
    let liar = Liar::start(Lie::Takes(100)).await;
    let arguments = ["--run-time", "10min", "--max-ms", "50", "--abort-on-fail"];
    let (code, printed) = result_of(&load(&liar.url, &arguments).await);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("it ended early") && printed.contains("the longest latency"), "{printed}");
    assert!(printed.contains("ok     ledger") && printed.contains(", 0 of unknown fate"), "{printed}");
}

#[tokio::test]
async fn the_capacity_is_found_within_its_error_and_twice_the_same() {
    // Forty users whose requests take a fifth of a second make 200 a second and no more.
    let liar = Liar::start(Lie::Takes(200)).await;
    let dir = tempfile::tempdir().unwrap();
    let search = [
        "--find-capacity",
        "--max-error-rate",
        "0",
        "--users",
        "40",
        "--capacity-step",
        "1s",
        "--capacity-from",
        "75",
        "--capacity-precision",
        "0.3",
    ];
    let arguments = [&["--host", &liar.url][..], &search, &["--report-dir", dir.path().to_str().unwrap()]].concat();
    for least in ["75", "300"] {
        let arguments = [&arguments[..], &["--min-capacity", least]].concat();
        let (code, printed) = result_of(&loadtest().args(arguments).output().await.unwrap());
        assert_eq!(code, Some(i32::from(least != "75")), "{printed}");
        let capacity = report(dir.path())["capacity"].clone();
        let (held, failed) = (capacity["rate"].as_u64().unwrap(), capacity["failed"].as_u64().unwrap());
        assert!(held <= 200 && failed > 100 && failed * 10 <= held * 13, "{printed}");
        assert!(dir.path().join("capacity.svg").exists());
    }
}

#[tokio::test]
async fn a_run_that_waits_for_its_next_request_ends_at_once_when_it_is_told_to() {
    let liar = Liar::start(Lie::None).await;
    let mut run = loadtest()
        .args(["--host", &liar.url, "--users", "16", "--rate", "1", "--run-time", "1h"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while liar.memory().events == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    harness::signal(run.id().unwrap(), "TERM").await.unwrap();
    // Sixteen users wait for what is due within sixteen seconds.
    let ended = timeout(Duration::from_secs(10), run.wait()).await.expect("it does not wait for these");
    assert!(ended.unwrap().success());
    let (_, printed) = result_of(&run.wait_with_output().await.unwrap());
    assert!(printed.contains("a signal ended it") && printed.contains("ok     rate"), "{printed}");
}
