use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use db::Flavour;
use harness::{Daemon, TestDatabase};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::Child,
    time::timeout,
};

use crate::{load, loadtest, result_of};

#[tokio::test]
async fn a_page_shows_the_run_and_one_that_stays_open_does_not_keep_the_run_from_its_verdict() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let dir = tempfile::tempdir().unwrap();
    let (run, link) = begin(&daemon, "--dashboard", dir.path()).await;
    assert!(link.starts_with("http://127.0.0.1:") && !link.contains("token"), "{link}");
    let page = reqwest::get(&link).await.unwrap();
    assert!(page.text().await.unwrap().contains("<html"), "{link} is a page");
    let open = reqwest::get(format!("{link}api/v1/events")).await.unwrap();
    assert_eq!(open.status(), 200);

    let output = end(run).await;
    let (code, printed) = result_of(&output);
    assert_eq!(code, Some(0), "{printed}");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.trim_start().starts_with("requests ") && !report.contains("dashboard"), "{report}");
    assert!(std::fs::read_to_string(dir.path().join("report/goose.html")).unwrap().contains("<html"));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["report"], "goose leaves nothing of its own behind");
}

#[tokio::test]
async fn a_page_that_others_can_reach_needs_the_token_of_its_link() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let dir = tempfile::tempdir().unwrap();
    let (run, link) = begin(&daemon, "--dashboard=0.0.0.0:0", dir.path()).await;
    let (page, token) = link.split_once("?token=").expect("the link has a token");
    let status = async |query: &str| reqwest::get(format!("{page}api/v1/snapshot{query}")).await.unwrap().status();
    assert_eq!(status("").await, 401);
    assert_eq!(status(&format!("?token={token}")).await, 200);
    assert_eq!(end(run).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_dashboard_on_a_port_in_use_is_an_error_before_the_run() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let dashboard = format!("--dashboard={}", taken.local_addr().unwrap());
    let (code, printed) = result_of(&load(daemon.url(), &[&dashboard]).await);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("the dashboard cannot listen on"), "{printed}");
}

/// A run of some seconds, and the link that it prints.
async fn begin(daemon: &Daemon, dashboard: &str, dir: &Path) -> (Child, String) {
    let mut run = loadtest()
        .args(["--host", daemon.url(), "--users", "4", "--run-time", "3s", "--report-dir", "report", dashboard])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let link = loop {
        let line = lines.next_line().await.unwrap().expect("a link is printed");
        if let Some(link) = line.strip_prefix("dashboard: ") {
            break link.to_owned();
        }
    };
    // Goose listens when its users begin.
    while !lines.next_line().await.unwrap().expect("users are launched").contains("launched") {}
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (run, link)
}

async fn end(run: Child) -> Output {
    timeout(Duration::from_mins(1), run.wait_with_output()).await.expect("the run ends").unwrap()
}
