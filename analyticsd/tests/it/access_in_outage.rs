//! Access control while the tokens cannot be read from the database.

use std::time::Duration;

use db::{AccessTokens, Flavour, NewAccessToken, StoreOptions};
use harness::{Daemon, TestDatabase};
use model::access::{IssuedToken, Scope};
use reqwest::{Method, Response, StatusCode};

use crate::{spool::Away, tokens::send};

const EVENT: &str = "/analytics?timestamp=1431857103000&user=anna&event=click";

async fn post(daemon: &Daemon, authorization: Option<&str>) -> Response {
    let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
    send(daemon, Method::POST, EVENT, &headers).await
}

/// Sends an event again and again until the answer has another status than these.
async fn until_other_than(statuses: &[u16], daemon: &Daemon, authorization: Option<&str>) -> Response {
    let changes = async {
        loop {
            let answer = post(daemon, authorization).await;
            if !statuses.contains(&answer.status().as_u16()) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), changes).await.expect("the daemon answers something else in time")
}

/// Makes a token that may write, and returns its header `Authorization`.
async fn token(database: &Away) -> String {
    let issued = IssuedToken::secret([5; IssuedToken::RANDOM_BYTES]);
    let store = db::Store::new(database.url(), StoreOptions::default()).unwrap();
    let scopes = [Scope::Write].into_iter().collect();
    let token = NewAccessToken::new(&issued, "shop".parse().unwrap(), scopes);
    assert!(AccessTokens(&store).create(&token).await.unwrap());
    format!("Bearer {}", issued.text)
}

#[tokio::test]
async fn anonymous_access_closes_while_tokens_cannot_be_read_and_opens_again_afterwards() {
    let mut database = Away::not_yet().await;
    let daemon = database.daemon_that_may_close(&[]).await;
    assert_eq!(post(&daemon, None).await.status(), StatusCode::NO_CONTENT);
    database.go().await;
    let closed = until_other_than(&[202], &daemon, None).await;
    assert_eq!(closed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(closed.headers()["retry-after"], "1");
    let message = closed.text().await.unwrap();
    assert!(message.contains("cannot read the tokens") && message.contains("--allow-anonymous"), "{message}");
    assert_eq!(daemon.get("/analytics?timestamp=0").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(daemon.get("/").await.status(), StatusCode::OK, "the page holds no data");

    database.come_back().await;
    // Until the spool is empty the answer may be 202.
    let opened = until_other_than(&[503], &daemon, None).await;
    assert!([202, 204].contains(&opened.status().as_u16()), "{opened:?}");
}

/// This happens for a moment while a backup is restored.
#[tokio::test]
async fn a_daemon_whose_database_lost_its_tokens_refuses_requests_until_they_are_back() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    assert_eq!(post(&daemon, None).await.status(), StatusCode::NO_CONTENT);
    let client = database.client().await;
    client
        .batch_execute("create table kept as table analytics.access_changes; delete from analytics.access_changes")
        .await
        .unwrap();
    assert_eq!(until_other_than(&[204], &daemon, None).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready = daemon.get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let message = ready.text().await.unwrap();
    assert!(message.contains("access tokens cannot be read"), "{message}");

    client.batch_execute("insert into analytics.access_changes select * from kept").await.unwrap();
    assert_eq!(until_other_than(&[503], &daemon, None).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_start_without_the_database_does_not_accept_requests_without_a_token() {
    let mut database = Away::not_yet().await;
    database.daemon_that_may_close(&[]).await.kill().await;
    database.go().await;
    let daemon = database.daemon_that_may_close(&[]).await;
    let closed = post(&daemon, None).await;
    assert_eq!(closed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(closed.text().await.unwrap().contains("--allow-anonymous"));
}

#[tokio::test]
async fn with_allow_anonymous_requests_are_accepted_while_tokens_cannot_be_read() {
    let mut database = Away::not_yet().await;
    let closes = database.daemon_that_may_close(&[]).await;
    let open = database.daemon_with_spool(&database.dir.path().join("other"), &["--allow-anonymous"]).await;
    database.go().await;
    until_other_than(&[202], &closes, None).await;
    assert_eq!(post(&open, None).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn tokens_stay_valid_through_an_outage_for_as_long_as_the_setting_says() {
    let mut database = Away::not_yet().await;
    let shop = token(&database).await;
    let usual = database.daemon_that_may_close(&[]).await;
    let strict = ["--tokens-valid-for", "8s"];
    let strict = database.daemon_with_spool(&database.dir.path().join("strict"), &strict).await;
    database.go().await;
    assert_eq!(post(&strict, Some(&shop)).await.status(), StatusCode::ACCEPTED);
    let refused = until_other_than(&[202], &strict, Some(&shop)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().await.unwrap().contains("for 8s"));
    assert_eq!(
        post(&strict, None).await.status(),
        StatusCode::UNAUTHORIZED,
        "a token exists, as far as the daemon knows"
    );
    assert_eq!(post(&usual, Some(&shop)).await.status(), StatusCode::ACCEPTED, "the spool accepts events for a day");

    database.come_back().await;
    let back = until_other_than(&[503], &strict, Some(&shop)).await;
    assert!([202, 204].contains(&back.status().as_u16()), "{back:?}");
}

#[tokio::test]
async fn a_restart_does_not_make_tokens_last_longer() {
    let mut database = Away::not_yet().await;
    let shop = token(&database).await;
    database.daemon_that_may_close(&[]).await.kill().await;
    database.go().await;
    let file = database.dir.path().join("spool/access.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let was_read_at: chrono::DateTime<chrono::Utc> = serde_json::from_value(kept["read_at"].clone()).unwrap();
    let daemon = database.daemon_that_may_close(&[]).await;
    assert_eq!(post(&daemon, Some(&shop)).await.status(), StatusCode::ACCEPTED);
    daemon.kill().await;

    kept["read_at"] = serde_json::to_value(was_read_at - Duration::from_hours(25)).unwrap();
    std::fs::write(&file, kept.to_string()).unwrap();
    let daemon = database.daemon_that_may_close(&[]).await;
    assert_eq!(post(&daemon, Some(&shop)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let longer = database.daemon_that_may_close(&["--tokens-valid-for", "2days"]);
    daemon.kill().await;
    assert_eq!(post(&longer.await, Some(&shop)).await.status(), StatusCode::ACCEPTED);
}
