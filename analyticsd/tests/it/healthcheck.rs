use db::Flavour;
use harness::{Daemon, TestDatabase};
use reqwest::StatusCode;

/// The exit code and the standard error for a daemon that listens on an address.
async fn healthcheck(listen: &str) -> (Option<i32>, String) {
    let output = Daemon::command().args(["healthcheck", "--listen", listen]).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_daemon_is_healthy_while_it_is_ready() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let address = daemon.url().strip_prefix("http://").unwrap().to_owned();
    assert_eq!(healthcheck(&address).await, (Some(0), String::new()));
    let port = address.rsplit(':').next().unwrap();
    assert_eq!(healthcheck(&format!("0.0.0.0:{port}")).await, (Some(0), String::new()), "as in a container");

    let spoil = "update analytics.schema_history set checksum = '1' where version = 1";
    database.client().await.batch_execute(spoil).await.unwrap();
    // The last result is valid for half a second.
    let message = loop {
        match healthcheck(&address).await {
            (Some(0), _) => {}
            (Some(1), message) => break message,
            other => panic!("{other:?}"),
        }
    };
    assert!(message.contains("503") && message.contains("migrate verify"), "{message}");

    assert!(daemon.terminate().await.success());
    let (code, message) = healthcheck(&address).await;
    assert_eq!(code, Some(1));
    assert!(message.contains(&address) && message.contains("does not answer"), "{message}");
}

#[tokio::test]
async fn a_daemon_is_healthy_even_if_its_address_exceeds_a_rate_limit() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let limit = ["--rate-limit-per-address", "1/h:1"];
    let daemon = Daemon::start_with(["--database-url", database.url()].into_iter().chain(limit)).await;
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let address = daemon.url().strip_prefix("http://").unwrap();
    assert_eq!(healthcheck(address).await, (Some(0), String::new()));
}

#[tokio::test]
async fn an_address_that_cannot_be_parsed_is_a_wrong_setting() {
    let (code, message) = healthcheck("nowhere").await;
    assert_eq!(code, Some(2));
    assert!(message.contains("--listen") && message.contains("nowhere"), "{message}");
}
