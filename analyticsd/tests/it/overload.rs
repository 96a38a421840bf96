use std::time::Duration;

use db::Flavour;
use model::Problem;
use reqwest::StatusCode;
use testkit::{Daemon, TestDatabase};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
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
