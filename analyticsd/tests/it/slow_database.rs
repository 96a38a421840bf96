//! A database that is far away.

use std::time::Duration;

use chrono::Utc;
use db::{AccessTokens, NewAccessToken, roles};
use harness::{Daemon, PrivateServer, SlowLink};
use model::access::{IssuedToken, Scope};
use reqwest::StatusCode;

use crate::{support::counts, tokens::answers};

/// The delay in one direction.
const DELAY: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_daemon_starts_and_serves_over_a_slow_link_to_a_database_with_a_password() {
    let server = PrivateServer::start().await.unwrap();
    let client = server.client().await;
    let login = format!("create role far login password 'a secret' in role {}", roles::DAEMON);
    client.batch_execute(&login).await.unwrap();
    let rules = server.dir().join("native/data/pg_hba.conf");
    let others = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("local all far scram-sha-256\n{others}")).unwrap();
    client.batch_execute("select pg_reload_conf()").await.unwrap();
    let link = SlowLink::start(server.url(), DELAY).await;
    let url = format!("postgres://far:a%20secret@127.0.0.1:{}/analytics", link.port());

    let daemon = Daemon::start(&url).await;
    let now = Utc::now();
    for user in 0..5 {
        assert_eq!(daemon.post(now, &format!("user-{user}"), "click").await, StatusCode::NO_CONTENT);
    }
    // Longer than the daemon accepts requests without a token without reading the table.
    let end = tokio::time::Instant::now() + Duration::from_secs(8);
    while tokio::time::Instant::now() < end {
        assert_eq!(daemon.counts(now).await, counts(5, 5, 0));
        assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
    }
    // When the connections break, all parts reconnect.
    let others = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'far'";
    client.batch_execute(others).await.unwrap();
    let until_served = async {
        while daemon.post(now, "later", "click").await != StatusCode::NO_CONTENT
            || daemon.get("/analytics?timestamp=0").await.status() != StatusCode::OK
            || daemon.get("/readyz").await.status() != StatusCode::OK
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), until_served).await.expect("it serves again");

    let issued = IssuedToken::secret([6; IssuedToken::RANDOM_BYTES]);
    let scopes = [Scope::Read].into_iter().collect();
    let token = NewAccessToken::new(&issued, "far".parse().unwrap(), scopes);
    assert!(AccessTokens(server.store()).create(&token).await.unwrap());
    answers(&daemon, Some(&format!("Bearer {}", issued.text)), StatusCode::OK).await;
    answers(&daemon, None, StatusCode::UNAUTHORIZED).await;
}
