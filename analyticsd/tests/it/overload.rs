use std::time::Duration;

use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::Problem;
use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::raw::{connect, read_to_the_end};

#[tokio::test]
async fn a_client_beyond_the_limit_gets_503_and_there_is_room_when_another_leaves() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--max-connections", "2"]).await;
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&daemon).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        inside.push(stream);
    }

    // A client that sends a body can read the answer all the same.
    let body = "x".repeat(30_000);
    let refused = timeout(Duration::from_secs(5), daemon.post_batch(body)).await.expect("the answer comes at once");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(refused.json::<Problem>().await.unwrap().status, 503);
    let silent = read_to_the_end(&mut connect(&daemon).await, Duration::from_secs(8)).await;
    assert!(silent.starts_with("HTTP/1.1 503 "), "a silent client gets the answer and is disconnected too: {silent}");

    drop(inside);
    let room = async {
        while daemon.get("/healthz").await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), room).await.expect("there is room again");
}

/// An accepted connection from one of this machine's addresses.
async fn inside(daemon: &Daemon, from: &str) -> Result<TcpStream, String> {
    let mut stream = connect_from(daemon, from).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    if &start == b"HTTP/1.1 200" { Ok(stream) } else { Err(read_to_the_end(&mut stream, Duration::from_secs(8)).await) }
}

async fn connect_from(daemon: &Daemon, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(daemon.url().strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_address_exceeds_its_limit_of_connections_unless_it_is_a_proxy() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let limits = ["--max-connections-per-address", "2", "--trusted-proxies", "127.0.0.9"];
    let daemon = Daemon::start_with(["--database-url", database.url()].into_iter().chain(limits)).await;
    let mut open = Vec::new();
    for address in ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.9", "127.0.0.9", "127.0.0.9"] {
        open.push(inside(&daemon, address).await.unwrap());
    }
    let refused = inside(&daemon, "127.0.0.1").await.unwrap_err();
    assert!(refused.contains("This address has the most connections that the server allows."), "{refused}");

    open.remove(0);
    let room = async {
        while inside(&daemon, "127.0.0.1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), room).await.expect("there is room again");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn idle_connections_of_one_address_leave_others_room_on_the_admin_listener() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0"]).await;
    let listener = daemon.metrics_url().strip_prefix("http://").unwrap().parse().unwrap();
    let connect = async |address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        socket.connect(listener).await.unwrap()
    };
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(connect("127.0.0.2").await);
    }
    let refused = read_to_the_end(&mut connect("127.0.0.2").await, Duration::from_secs(10)).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("This address has"), "{refused}");
    assert!(daemon.metrics().await.contains("analyticsd_build_info"), "another address gets an answer");
}
