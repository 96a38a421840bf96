//! Servers that answer as analyticsd does and break a promise: a verdict that cannot fail says nothing.

use std::{net::Ipv4Addr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    time::{sleep, timeout},
};

use crate::{
    liar::{Liar, Lie, Memory},
    load, loadtest, result_of,
};

/// What one wrong event is among.
pub(crate) const MANY: u64 = 100_000;

/// Loads a liar until many events came, of which none is late any more, and ends the run.
pub(crate) async fn run_until_many(liar: &Liar, arguments: &[&str]) -> (Option<i32>, String) {
    let own = ["--users", "4", "--run-time", "10min", "--batch-size", "1000"];
    run_until(liar, &[&own, arguments].concat(), |memory| memory.events >= MANY + 10_000 && !memory.shows_one_late())
        .await
}

/// Loads a liar until something has come, and ends the run.
pub(crate) async fn run_until(
    liar: &Liar,
    arguments: &[&str],
    has_come: impl Fn(&Memory) -> bool,
) -> (Option<i32>, String) {
    let mut command = loadtest();
    command.args(["--host", &liar.url]).args(arguments);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let came = async {
        while !has_come(&liar.memory()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(2), came).await.expect("it comes");
    harness::signal(run.id().unwrap(), "INT").await.unwrap();
    result_of(&timeout(Duration::from_mins(1), run.wait_with_output()).await.expect("the run ends").unwrap())
}

async fn run_against(lie: Lie, arguments: &[&str]) -> (Option<i32>, String) {
    let liar = Liar::start(lie).await;
    result_of(&load(&liar.url, &[&["--run-time", "2s"], arguments].concat()).await)
}

#[tokio::test]
async fn a_server_that_keeps_its_promises_passes() {
    let (code, printed) = run_against(Lie::None, &[]).await;
    assert_eq!(code, Some(0), "{printed}");
}

#[tokio::test]
async fn a_server_that_loses_counts_twice_or_misses_users_fails_and_the_hour_is_named() {
    for (lie, expected) in [
        (Lie::Loses, "missing"),
        (Lie::CountsTwice, "too many"),
        (Lie::MissesUsers, "unique users, at least"),
        (Lie::KeepsWhatItRefuses, "too many"),
    ] {
        let (code, printed) = run_against(lie, &[]).await;
        assert_eq!(code, Some(1), "{lie:?}: {printed}");
        assert!(printed.contains("FAILED ledger") && printed.contains(expected), "{lie:?}: {printed}");
        assert!(printed.contains(":00Z counts "), "{lie:?}: {printed}");
        assert_eq!(printed.contains("give --shared"), expected == "too many", "{lie:?}: {printed}");
    }
}

#[tokio::test]
async fn one_lost_event_in_a_hundred_thousand_is_found_and_its_site_is_named() {
    let batches = ["--batch-share", "0.2", "--site-names", "shop,blog,wiki", "--site-zipf", "0"];
    let (code, printed) = run_until_many(&Liar::start(Lie::None).await, &batches).await;
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = run_until_many(&Liar::start(Lie::LosesOne(MANY)).await, &batches).await;
    assert_eq!(code, Some(1), "{printed}");
    let is_named = ["shop", "blog", "wiki"].iter().any(|site| printed.contains(&format!("       {site} 20")));
    assert!(printed.contains("FAILED ledger") && printed.contains(": 1 missing") && is_named, "{printed}");
}

#[tokio::test]
async fn one_event_in_a_hundred_thousand_that_is_counted_twice_or_invented_is_found() {
    for lie in [Lie::CountsOneTwice(MANY), Lie::InventsOne(MANY)] {
        // No event is for the hour that the invented one is counted in.
        let batches = ["--batch-share", "0.2", "--post-current", "1"];
        let (code, printed) = run_until_many(&Liar::start(lie).await, &batches).await;
        assert_eq!(code, Some(1), "{lie:?}: {printed}");
        assert!(printed.contains("FAILED ledger") && printed.contains(": 1 too many"), "{lie:?}: {printed}");
    }
}

#[tokio::test]
async fn a_server_whose_reads_are_late_fails_though_all_is_counted_in_the_end() {
    let (code, printed) = run_against(Lie::ReadsLate, &[]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED reads"), "{printed}");
}

#[tokio::test]
async fn one_late_event_is_found_though_those_of_many_users_are_on_their_way() {
    let other = Liar::start(Lie::None).await;
    for arguments in [
        &["--users", "64", "--run-time", "1min"][..],
        &["--users", "64", "--run-time", "1min", "--batch-share", "0.5", "--pixel-share", "0.5", "--script-share", "1"],
        // Rates that a busy machine makes too: behind its own answers the generator could prove nothing.
        &["--users", "64", "--stages", "1s:500,1min:500"],
        &["--find-capacity", "--capacity-from", "500"],
        &["--compare-host", &other.url, "--max-p50-ratio", "100"],
    ] {
        let liar = Liar::start(Lie::DelaysOne(500)).await;
        let arguments = [arguments, &["--post-current", "1"]].concat();
        let (code, printed) = run_until(&liar, &arguments, Memory::is_counted_late).await;
        assert_eq!(code, Some(1), "{arguments:?}: {printed}");
        assert!(printed.contains("FAILED reads") && printed.contains("1 missing"), "{arguments:?}: {printed}");
        assert!(printed.contains("ok     ledger"), "{arguments:?}: {printed}");
    }
}

#[tokio::test]
async fn a_server_that_answers_reads_with_anything_but_counts_fails() {
    let (code, printed) = run_against(Lie::Babbles, &[]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED reads"), "{printed}");
}

#[tokio::test]
async fn writes_are_looked_for_however_many_users_make_them() {
    // Each of the four makes no more than five.
    let arguments =
        ["--rate", "20", "--run-time", "1s", "--post-share", "1", "--post-current", "1", "--freshness-every", "10"];
    let (code, printed) = result_of(&load(&Liar::start(Lie::None).await.url, &arguments).await);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("2 writes were read back"), "{printed}");
}

#[tokio::test]
async fn with_shared_the_events_of_other_clients_are_no_fault() {
    let (code, printed) = run_against(Lie::CountsTwice, &["--shared"]).await;
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = run_against(Lie::Loses, &["--shared"]).await;
    assert_eq!(code, Some(1), "{printed}");
}

#[tokio::test]
async fn a_rate_that_the_server_is_too_slow_for_fails_and_so_do_gates() {
    let (code, printed) = run_against(Lie::Takes(100), &["--rate", "500", "--max-p99-ms", "50"]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED rate") && printed.contains("FAILED gate: p99 of all requests"), "{printed}");
    assert!(printed.contains("ok     ledger"), "{printed}");
}

#[tokio::test]
async fn what_is_refused_is_made_again_if_that_was_asked_for_and_only_then() {
    let gate = ["--max-error-rate", "0"];
    let (code, printed) = run_against(Lie::RefusesSome, &gate).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("ok     ledger") && !printed.contains("retries were made"), "{printed}");
    let (code, printed) = run_against(Lie::RefusesSome, &[&gate[..], &["--retries", "10"]].concat()).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("retries were made"), "{printed}");
}

#[tokio::test]
async fn a_server_that_keeps_what_it_refuses_counts_it_again_when_it_is_made_again_unless_it_knows_the_key() {
    let (code, printed) = run_against(Lie::KeepsWhatItRefuses, &["--retries", "3"]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED ledger") && printed.contains("too many"), "{printed}");
}

#[tokio::test]
async fn a_run_without_an_answer_has_shown_nothing() {
    let (code, printed) = run_against(Lie::RefusesAll, &["--post-share", "1"]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("no request was answered"), "{printed}");
}

#[tokio::test]
async fn the_verdict_is_printed_even_if_the_reports_cannot_be_written() {
    // Whoever opens this device may, and whoever writes to it finds no room.
    for file in ["report.json", "goose.html"] {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join(file)).unwrap();
        for (lie, expected) in [(Lie::None, 2), (Lie::Loses, 1)] {
            let (code, printed) = run_against(lie, &["--report-dir", dir.path().to_str().unwrap()]).await;
            assert_eq!(code, Some(expected), "{file}: {printed}");
            assert!(printed.contains(" ledger: ") && printed.contains("No space left"), "{file}: {printed}");
        }
    }
}

/// A server that counts nothing and hangs up on whoever sends an event. It ends with the test.
async fn hangs_up() -> String {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = BufReader::new(connection);
                let mut head = String::new();
                while connection.read_line(&mut head).await.is_ok_and(|read| read > 0) && !head.starts_with("POST") {
                    if head.ends_with("\r\n\r\n") {
                        head.clear();
                        let body = "unique_users,0\nclicks,0\nimpressions,0\n";
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                        connection.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn events_without_an_answer_are_of_unknown_fate_and_reported_once() {
    let output = load(&hangs_up().await, &["--rate", "100", "--run-time", "1s"]).await;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let (code, printed) = result_of(&output);
    assert_eq!(code, Some(0), "{printed}");
    assert!(stdout.contains("ledger: 0 events acknowledged, ") && !stdout.contains("acknowledged, 0 of"), "{printed}");
    // Once for each way in which a connection is seen to end.
    assert!((1..=2).contains(&stdout.matches("POST current got no answer").count()), "{printed}");
    assert!(!stdout.contains("WARN"), "{printed}");
}
