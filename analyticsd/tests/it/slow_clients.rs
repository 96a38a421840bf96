use std::{net::IpAddr, time::Duration};

use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::{access::Scope, wire::MAX_BATCH_BYTES};
use reqwest::{RequestBuilder, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{
    raw::{connect, connect_and_send, read_to_the_end},
    support::{at, stored_events},
    tokens::token,
};

const BATCH_HEAD: &[u8] = b"POST /analytics/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENT: &str = "{\"timestamp\":1431857103000,\"user\":\"anna\",\"event\":\"click\"}\n";

#[tokio::test]
async fn whoever_does_not_send_a_whole_head_within_10_seconds_is_cut_off() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let patience = Duration::from_secs(20);
    let silent = async {
        assert_eq!(read_to_the_end(&mut connect(&daemon).await, patience).await, "");
    };
    let half = async {
        let mut stream = connect_and_send(&daemon, b"POST /analytics?timestamp=1").await;
        assert_eq!(read_to_the_end(&mut stream, patience).await, "");
    };
    let dripping = timeout(patience, async {
        let mut stream = connect_and_send(&daemon, b"GET / HTTP/1.1\r\nX: ").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let idle = async {
        let mut stream = connect_and_send(&daemon, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(read_to_the_end(&mut stream, patience).await.starts_with("HTTP/1.1 200 "));
    };
    let ((), (), dripping, ()) = tokio::join!(silent, half, dripping, idle);
    dripping.expect("a head that comes byte by byte is cut off");
}

#[tokio::test]
async fn a_client_that_leaves_within_a_request_frees_its_place_at_once() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let limits = ["--max-connections", "1", "--header-timeout", "1h", "--body-timeout", "1h"];
    let daemon = Daemon::start_with(["--database-url", database.url()].into_iter().chain(limits)).await;
    for part in ["", "GET /heal", "POST /analytics/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"] {
        drop(connect_and_send(&daemon, part.as_bytes()).await);
        let served = async {
            while daemon.get("/healthz").await.status() != StatusCode::OK {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), served).await.unwrap_or_else(|_| panic!("its place is free after {part:?}"));
    }
}

#[tokio::test]
async fn the_limits_can_be_set() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let usual = Daemon::start(database.url()).await;
    let limits = ["--header-timeout", "1s", "--header-bytes", "8192", "--body-timeout", "2s"];
    let strict = Daemon::start_with(["--database-url", database.url()].into_iter().chain(limits)).await;

    let patience = Duration::from_secs(45);
    let (mut with_usual, mut with_strict) = (connect(&usual).await, connect(&strict).await);
    tokio::select! {
        _ = read_to_the_end(&mut with_usual, patience) => panic!("the stricter daemon has more patience"),
        answer = read_to_the_end(&mut with_strict, patience) => assert_eq!(answer, ""),
    }
    let head =
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    for (daemon, status) in [(&usual, "HTTP/1.1 200 "), (&strict, "HTTP/1.1 431 ")] {
        let answer = read_to_the_end(&mut connect_and_send(daemon, head.as_bytes()).await, patience).await;
        assert!(answer.starts_with(status), "{answer}");
    }
    let answer = read_to_the_end(&mut connect_and_send(&strict, BATCH_HEAD).await, patience).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("within 2s."), "{answer}");
}

#[tokio::test]
async fn an_event_whose_body_never_ends_is_answered_at_once_and_its_connection_ends() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for body in ["Content-Length: 1000\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"] {
        let request = format!("POST /analytics?timestamp=1&user=a&event=click HTTP/1.1\r\nHost: localhost\r\n{body}");
        let mut stream = connect_and_send(&daemon, request.as_bytes()).await;
        let answer = read_to_the_end(&mut stream, Duration::from_secs(5)).await;
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
        // Otherwise a client would send its next request on this connection and get no answer.
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    assert_eq!(stored_events(&database).await, 2);
}

#[tokio::test]
async fn an_answer_announces_the_end_of_the_connection_only_if_the_body_was_not_read() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let batch = |body: &'static str| daemon.post_batch(body);
    let post = async |target: &str| {
        let request = reqwest::Client::new().post(format!("{}{target}", daemon.url())).body("not read");
        request.send().await.unwrap()
    };
    for (answer, status, ends) in [
        (batch(EVENT).await, StatusCode::NO_CONTENT, false),
        (batch("nonsense").await, StatusCode::BAD_REQUEST, false),
        (batch("").await, StatusCode::NO_CONTENT, false),
        (daemon.get("/analytics?timestamp=1").await, StatusCode::OK, false),
        (post("/analytics?timestamp=1&user=a&event=click").await, StatusCode::NO_CONTENT, true),
        (post("/nowhere").await, StatusCode::NOT_FOUND, true),
    ] {
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().get("connection").is_some_and(|value| value == "close"), ends, "{answer:?}");
    }
}

#[tokio::test]
async fn batches_that_do_not_end_get_408_after_30_seconds_and_keep_nobody_out_until_then() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut slow = JoinSet::new();
    for _ in 0..100 {
        let mut stream = connect_and_send(&daemon, BATCH_HEAD).await;
        stream.write_all(format!("{:x}\r\n{EVENT}\r\n", EVENT.len()).as_bytes()).await.unwrap();
        slow.spawn(async move { read_to_the_end(&mut stream, Duration::from_secs(45)).await });
    }
    assert_eq!(daemon.post_batch(EVENT).await.status(), StatusCode::NO_CONTENT);
    while let Some(answer) = slow.join_next().await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    assert_eq!(stored_events(&database).await, 1, "a batch with the answer 408 is not stored");
}

#[tokio::test]
async fn a_long_unread_answer_is_not_copied_for_each_client() {
    const CLIENTS: usize = 100;
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0"]).await;
    let path = "/docs/swagger-ui-bundle.js";
    let length = daemon.get(path).await.bytes().await.unwrap().len();
    assert!(length > 1_000_000, "{length}");
    let memory = async || daemon.metric("process_resident_memory_bytes").await.unwrap();
    let before = memory().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2_048).unwrap();
        let address = daemon.url().strip_prefix("http://").unwrap().parse().unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'H', "the answer has begun");
        clients.push(stream);
    }
    // A tenth of the memory that a copy for each would take.
    let grown = memory().await - before;
    #[allow(clippy::cast_precision_loss)]
    let most = (CLIENTS * length / 10) as f64;
    assert!(grown < most, "{grown} bytes");
}

/// Sends all of a batch but its last KiB, and starts again if it is refused.
async fn hold_a_share(address: String, headers: String) {
    let body = vec![b'x'; MAX_BATCH_BYTES - 1_024];
    loop {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let sending = async {
            stream.write_all(BATCH_HEAD.strip_suffix(b"\r\n").unwrap()).await?;
            stream.write_all(format!("{headers}\r\n{MAX_BATCH_BYTES:x}\r\n").as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.read_u8().await
        };
        let _ = sending.await;
    }
}

/// Four clients that hold all that one address or token may have, but for 4 KiB.
fn four_holders(daemon: &Daemon, headers: &str) -> JoinSet<()> {
    let address = daemon.url().strip_prefix("http://").unwrap();
    (0..4).map(|_| hold_a_share(address.to_owned(), headers.to_owned())).collect()
}

/// One event, and as many empty lines as a batch may have.
fn largest_batch() -> String {
    format!("{EVENT}{}", "\n".repeat(MAX_BATCH_BYTES - EVENT.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_beyond_the_budget_get_503_and_are_accepted_again_when_others_are_gone() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut holders = four_holders(&daemon, "");
    // They leave less than the next batch needs.
    let batch = format!("{EVENT}{}", "\n".repeat(10_000));
    let mut stored = 0;
    let refused = async {
        loop {
            let answer = daemon.post_batch(batch.clone()).await;
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
            stored += 1;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let refused = timeout(Duration::from_secs(20), refused).await.expect("the budget is used up");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(daemon.post(at("2015-05-17T10:05:03Z"), "ben", "click").await, StatusCode::NO_CONTENT);
    assert_eq!(stored_events(&database).await, stored + 1, "the refused batch is not stored");

    let elsewhere = reqwest::Client::builder().local_address(IpAddr::from([127, 0, 0, 2])).build().unwrap();
    for _ in 0..5 {
        let batch = elsewhere.post(format!("{}/analytics/batch", daemon.url())).body(largest_batch());
        assert_eq!(batch.send().await.unwrap().status(), StatusCode::NO_CONTENT, "another address has its own share");
    }

    holders.shutdown().await;
    let accepted = async { while daemon.post_batch(batch.clone()).await.status() != StatusCode::NO_CONTENT {} };
    timeout(Duration::from_secs(20), accepted).await.expect("the budget comes back");
}

async fn wait_until(condition: impl AsyncFn() -> bool) {
    let comes = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(25), comes).await.expect("this happens in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_batches_of_one_token_leave_room_for_those_of_others() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let [greedy, other] = [token(&database, &[Scope::Write]).await, token(&database, &[Scope::Write]).await];
    let daemon =
        Daemon::start_with(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0", "--allow-anonymous"])
            .await;
    let headers = format!("Authorization: Bearer {greedy}\r\n");
    let used = async || daemon.metric("analyticsd_body_budget_used_bytes").await.unwrap() / 1_048_576.0;
    let mut holders = four_holders(&daemon, &headers);
    wait_until(async || used().await > 31.99).await;
    let mut more = four_holders(&daemon, &headers);
    let refused = async || daemon.metric("analyticsd_refusals_total{reason=\"too_busy\"}").await > Some(4.0);
    wait_until(async || used().await > 63.98 || refused().await).await;
    for token in [Some(other), None] {
        let batch = reqwest::Client::new().post(format!("{}/analytics/batch", daemon.url())).body(largest_batch());
        let batch = token.iter().fold(batch, RequestBuilder::bearer_auth);
        assert_eq!(batch.send().await.unwrap().status(), StatusCode::NO_CONTENT, "{token:?}");
    }
    more.shutdown().await;
    holders.shutdown().await;
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_loses_its_connection() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = daemon.url().strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let requests = b"GET /nothing/at/all HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let sending = async { while stream.write_all(&requests).await.is_ok() {} };
    timeout(Duration::from_mins(1), sending).await.expect("the connection is closed");
}
