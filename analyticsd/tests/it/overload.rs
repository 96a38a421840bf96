use std::{fs, sync::Arc, time::Duration};

use chrono::Utc;
use db::Flavour;
use model::Problem;
use reqwest::StatusCode;
use testkit::{Daemon, TestDatabase};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    raw::{connect, read_to_the_end},
    support::stored_events,
};

/// The most memory that the daemon ever had, in KiB.
fn peak_memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_client_beyond_the_limit_gets_503_and_there_is_room_when_another_leaves() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--max-connections", "2"]).await;
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&daemon).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        inside.push(stream);
    }

    // A client that sends a body gets to read the answer all the same.
    let body = "x".repeat(30_000);
    let refused = timeout(Duration::from_secs(5), daemon.post_batch(body)).await.expect("the answer comes at once");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(refused.json::<Problem>().await.unwrap().status, 503);
    let silent = read_to_the_end(&mut connect(&daemon).await, Duration::from_secs(8)).await;
    assert!(silent.starts_with("HTTP/1.1 503 "), "a client that says nothing is told and cut off too: {silent}");

    drop(inside);
    let room = async {
        while daemon.get("/healthz").await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), room).await.expect("there is room again");
}

/// What became of one request.
enum Outcome {
    Stored,
    Refused,
    /// Closed without an answer, before anything was read.
    TurnedAway,
}

/// Sends an event and reads the head of its answer; an answer of this path to an event has no body but when it is refused, and
/// then the connection is given up.
async fn post(stream: &mut TcpStream, request: &[u8]) -> Outcome {
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_err() {
        return Outcome::TurnedAway;
    }
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) if answer.is_empty() => return Outcome::TurnedAway,
            Err(error) => panic!("an answer broke off: {error}"),
        }
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    match answer.get(9..12) {
        Some("204") => Outcome::Stored,
        Some("503") => {
            assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
            Outcome::Refused
        }
        _ => panic!("an event was answered {answer}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_times_more_clients_than_places_are_stored_exactly_or_refused_and_calm_returns_at_once() {
    const CLIENTS: usize = 1_000;
    rlimit::increase_nofile_limit(4_096).unwrap();
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Arc::new(Daemon::start_with(["--database-url", database.url(), "--max-connections", "200"]).await);
    let now = Utc::now();
    let end = Instant::now() + Duration::from_secs(8);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let daemon = Arc::clone(&daemon);
        let request = format!(
            "POST /analytics?timestamp={}&user={client}&event=click HTTP/1.1\r\nHost: x\r\n\r\n",
            now.timestamp_millis()
        );
        clients.spawn(async move {
            let (mut stored, mut refused) = (0_i64, 0_u64);
            while Instant::now() < end {
                let mut stream = connect(&daemon).await;
                // A client gives up its place after some events, so that all come in at some time.
                for _ in 0..50 {
                    let answered = timeout(Duration::from_secs(15), post(&mut stream, request.as_bytes()));
                    match answered.await.expect("every request is answered or turned away in time") {
                        Outcome::Stored => stored += 1,
                        Outcome::Refused | Outcome::TurnedAway => {
                            refused += 1;
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            break;
                        }
                    }
                    if Instant::now() >= end {
                        break;
                    }
                }
            }
            (stored, refused)
        });
    }
    let (mut stored, mut refused) = (0, 0);
    while let Some(client) = clients.join_next().await {
        let (more_stored, more_refused) = client.unwrap();
        stored += more_stored;
        refused += more_refused;
    }
    eprintln!("{stored} stored, {refused} refused, at most {} KiB", peak_memory(&daemon));
    assert!(stored > 0 && refused > 0, "this was no overload: {stored} stored, {refused} refused");
    assert_eq!(stored_events(&database).await, stored, "what was acknowledged is what is stored");

    let calm = async {
        // The places of those who just left are free in a moment.
        while daemon.get("/healthz").await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..20 {
            assert_eq!(daemon.post(now, "calm", "impression").await, StatusCode::NO_CONTENT);
        }
    };
    timeout(Duration::from_secs(5), calm).await.expect("after the overload all is as before");
    assert!(peak_memory(&daemon) < 100 * 1024, "{} KiB", peak_memory(&daemon));
}
