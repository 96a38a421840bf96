//! The log goes to a pipe that no process reads, or to a full disk. Clients must not notice.

use std::{
    fs::File,
    io::{self, PipeReader, Read, Write},
    process::Stdio,
    time::Duration,
};

use chrono::Utc;
use db::Flavour;
use harness::{Daemon, TestDatabase};
use reqwest::StatusCode;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{at, counts};

const DROPPED: &str = "analyticsd_log_lines_dropped_total";
/// How long any of these daemons may take to stop: its log gets two seconds of it.
const STOP: Duration = Duration::from_secs(10);

/// A daemon that writes a line for each request to this standard error, and settles hours at once.
async fn start(database: &TestDatabase, stderr: impl Into<Stdio>) -> Daemon {
    let mut command = Daemon::command();
    command.args(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0", "--settle-after", "0s"]);
    command.args(["--log", "info,access=debug"]).stderr(stderr);
    Daemon::start_command_with_log(command).await
}

/// A path for a long line.
fn long_path() -> String {
    format!("/{}", "x".repeat(8_000))
}

/// Sends requests until their log lines fill every buffer and lines are dropped.
async fn fill(daemon: &Daemon) {
    let path = long_path();
    let filling = async {
        while daemon.metric(DROPPED).await.unwrap() == 0.0 {
            for _ in 0..50 {
                assert_eq!(daemon.get(&path).await.status(), StatusCode::NOT_FOUND);
            }
        }
    };
    timeout(Duration::from_mins(1), filling).await.expect("requests are answered, and lines are dropped and counted");
}

/// The daemon answers, stores, settles, and stops when it is asked to.
async fn does_all_that_it_should(daemon: Daemon, database: &TestDatabase) {
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
    assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::NO_CONTENT);
    let past = at("2015-05-17T10:00:00Z");
    assert_eq!(daemon.post(past, "anna", "click").await, StatusCode::NO_CONTENT);
    let client = database.client().await;
    let settled = async {
        while client.query_opt("select from analytics.settled_hours", &[]).await.unwrap().is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), settled).await.expect("the settler goes on");
    assert_eq!(daemon.counts(past).await, counts(1, 1, 0));
    let asked = Instant::now();
    assert!(daemon.terminate().await.success(), "it stops in an orderly way");
    assert!(asked.elapsed() < STOP, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn no_request_waits_for_a_reader_of_the_log_that_does_not_read() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (reader, writer) = io::pipe().unwrap();
    let daemon = start(&database, writer).await;
    fill(&daemon).await;
    does_all_that_it_should(daemon, &database).await;
    drop(reader);
}

#[tokio::test]
async fn a_closed_log_pipe_does_no_harm() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (reader, writer) = io::pipe().unwrap();
    let daemon = start(&database, writer).await;
    drop(reader);
    fill(&daemon).await;
    does_all_that_it_should(daemon, &database).await;
}

#[tokio::test]
async fn a_log_without_a_reader_does_not_prevent_the_start() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let daemon = start(&database, writer).await;
    does_all_that_it_should(daemon, &database).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_under_the_log_does_no_harm() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = start(&database, File::options().write(true).open("/dev/full").unwrap()).await;
    fill(&daemon).await;
    does_all_that_it_should(daemon, &database).await;
}

#[tokio::test]
async fn a_log_that_can_be_written_again_reports_its_missing_lines() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (reader, writer) = io::pipe().unwrap();
    let daemon = start(&database, writer).await;
    fill(&daemon).await;
    let reading = std::thread::spawn(move || read_to_the_end(reader));
    // Now the waiting lines are written, and no more lines are dropped.
    let mut dropped = 0.0;
    let drained = async {
        while daemon.metric(DROPPED).await.unwrap() > dropped {
            dropped = daemon.metric(DROPPED).await.unwrap();
            sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(Duration::from_mins(1), drained).await.expect("no line is dropped while the log is read");
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
    assert!(daemon.terminate().await.success());

    let log = reading.join().unwrap();
    let gaps: Vec<u32> =
        log.lines().filter(|line| line.contains("could not be written")).map(number_of_lines).collect();
    assert_eq!(gaps.iter().sum::<u32>().to_string(), dropped.to_string(), "{gaps:?}");
    let last = log.rfind("could not be written").unwrap();
    assert!(log[last..].contains("path=\"/healthz\""), "it goes on after the gap");
    assert!(log.lines().last().unwrap().contains("stopped; every accepted request was answered"));
    for line in log.lines() {
        assert!(line.starts_with("20") && line.contains("Z "), "each line is whole: {line:?}");
    }
}

fn read_to_the_end(mut reader: PipeReader) -> String {
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    all
}

fn number_of_lines(line: &str) -> u32 {
    let number = line.split("lines=").nth(1).unwrap();
    number.split(' ').next().unwrap().trim().parse().unwrap()
}

/// A full pipe whose reading end stays open.
pub(crate) fn full_pipe() -> (PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    // It ends with the reader.
    std::thread::spawn(move || while filling.write_all(&[b'x'; 4_096]).is_ok() {});
    let _ = writer.flush();
    (reader, writer)
}
