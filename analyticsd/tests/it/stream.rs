use std::time::Duration;

use chrono::Utc;
use db::{Flavour, embedded::Embedded};
use futures_util::StreamExt;
use harness::{Daemon, TestDatabase, embedded_options, server_dir};
use model::HourCounts;
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use crate::support::counts;

/// A stream of server-sent events as a browser reads it.
struct Events {
    response: Response,
    read: String,
}

impl Events {
    async fn of(daemon: &Daemon) -> Self {
        let response = daemon.get("/analytics/stream").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: String::new() }
    }

    /// The next event's name and data; `None` at the end.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            while let Some(end) = self.read.find("\n\n") {
                let event: String = self.read.drain(..end + 2).collect();
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some(name) = field("event:") {
                    return Some((name, field("data:").unwrap()));
                }
            }
            let chunk = timeout(Duration::from_secs(30), self.response.chunk()).await.expect("something is sent");
            self.read.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    /// Reads until the current hour has these counts.
    async fn until(&mut self, expected: HourCounts) {
        loop {
            let (name, data) = self.next().await.expect("the stream goes on");
            assert_eq!(name, "counts", "{data}");
            if serde_json::from_str::<HourCounts>(&data).unwrap() == expected {
                return;
            }
        }
    }
}

#[tokio::test]
async fn posted_events_reach_all_listeners() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::NO_CONTENT);
    let mut listeners = [Events::of(&daemon).await, Events::of(&daemon).await];
    for events in &mut listeners {
        events.until(counts(1, 1, 0)).await;
    }
    assert_eq!(daemon.post(Utc::now(), "ben", "impression").await, StatusCode::NO_CONTENT);
    for events in &mut listeners {
        events.until(counts(2, 1, 1)).await;
    }
}

#[tokio::test]
async fn an_outage_of_the_database_is_sent_and_counts_follow_when_it_is_back() {
    let dir = server_dir();
    let options = embedded_options(dir.path(), Flavour::Postgres);
    let server = Embedded::start(&options).await.unwrap();
    let daemon = Daemon::start_with(["--database-url", server.url(), "--migrate", "--allow-anonymous"]).await;
    let mut events = Events::of(&daemon).await;
    events.until(counts(0, 0, 0)).await;
    server.stop().await.unwrap();
    assert_eq!(events.next().await.unwrap().0, "unavailable");
    let _server = Embedded::start(&options).await.unwrap();
    events.until(counts(0, 0, 0)).await;
}

#[tokio::test]
async fn the_stream_ends_when_the_daemon_stops_and_does_not_hold_it_up() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut events = Events::of(&daemon).await;
    events.until(counts(0, 0, 0)).await;
    let stopping = tokio::spawn(daemon.terminate());
    while events.next().await.is_some() {}
    assert!(stopping.await.unwrap().success());
}

#[tokio::test]
async fn the_place_of_a_gone_listener_is_free_within_seconds() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0"]).await;
    let listeners = async || daemon.metric("analyticsd_stream_listeners").await;
    let gone = [Events::of(&daemon).await, Events::of(&daemon).await];
    assert_eq!(listeners().await, Some(2.0));
    drop(gone);
    let places = async { while listeners().await != Some(0.0) {} };
    timeout(Duration::from_secs(9), places).await.expect("a failed write is noticed");
}

#[tokio::test]
async fn the_number_of_listeners_is_limited() {
    rlimit::increase_nofile_limit(4_096).unwrap();
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let asked = futures_util::stream::iter(0..1_001).map(|_| daemon.get("/analytics/stream")).buffer_unordered(64);
    let answers: Vec<Response> = asked.collect().await;
    let refused = answers.iter().filter(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE).count();
    assert_eq!(refused, 1);
    assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::NO_CONTENT, "others are served as ever");
}
