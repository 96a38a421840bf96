use chrono::{Duration, Utc};
use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours};
use reqwest::StatusCode;
use tokio::task::JoinSet;

use crate::support::{at, counts, stored_events};

on_both_flavours!(
    an_event_is_counted_for_its_hour_as_soon_as_it_is_acknowledged,
    many_clients_at_once_are_counted_exactly,
);

async fn an_event_is_counted_for_its_hour_as_soon_as_it_is_acknowledged(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start(database.url()).await;
    let past = at("2015-05-17T10:05:03Z");
    for at in [Utc::now(), past] {
        assert_eq!(daemon.counts(at).await, counts(0, 0, 0));
        assert_eq!(daemon.post(at, "anna", "click").await, StatusCode::NO_CONTENT);
        assert_eq!(daemon.counts(at).await, counts(1, 1, 0));
        assert_eq!(daemon.post(at, "anna", "impression").await, StatusCode::NO_CONTENT);
        assert_eq!(daemon.post(at, "ben", "impression").await, StatusCode::NO_CONTENT);
        assert_eq!(daemon.counts(at).await, counts(2, 1, 2));
    }
    assert_eq!(daemon.counts(past - Duration::hours(1)).await, counts(0, 0, 0));
    assert_eq!(daemon.counts(past + Duration::hours(1)).await, counts(0, 0, 0));
}

async fn many_clients_at_once_are_counted_exactly(flavour: Flavour) {
    const CLIENTS: u64 = 16;
    const EVENTS: u64 = 25;
    let database = TestDatabase::new(flavour).await;
    let daemon = std::sync::Arc::new(Daemon::start(database.url()).await);
    let (now, past) = (Utc::now(), at("2015-05-17T10:05:03Z"));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let daemon = daemon.clone();
        clients.spawn(async move {
            for n in 0..EVENTS {
                let (at, event) =
                    (if n % 2 == 0 { now } else { past }, if n % 3 == 0 { "click" } else { "impression" });
                let before = daemon.counts(at).await;
                assert_eq!(daemon.post(at, &format!("user-{client}"), event).await, StatusCode::NO_CONTENT);
                let after = daemon.counts(at).await;
                assert!(
                    after.clicks + after.impressions > before.clicks + before.impressions,
                    "a client sees what it wrote"
                );
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    // Of the numbers 0 to 24, the 13 even ones go to the current hour: 5 of them are multiples of 3; of the 12 odd ones
    // 4 are.
    assert_eq!(daemon.counts(now).await, counts(CLIENTS, 5 * CLIENTS, 8 * CLIENTS));
    assert_eq!(daemon.counts(past).await, counts(CLIENTS, 4 * CLIENTS, 8 * CLIENTS));
    assert_eq!(stored_events(&database).await, i64::try_from(CLIENTS * EVENTS).unwrap());
}

#[tokio::test]
async fn answers_have_the_form_that_the_contract_states() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    daemon.post(at("2015-05-17T10:05:03Z"), "anna", "click").await;

    let answer = daemon.get("/analytics?timestamp=1431857103000").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.text().await.unwrap(), "unique_users,1\nclicks,1\nimpressions,0\n");

    let client = reqwest::Client::new();
    let url = format!("{}/analytics?timestamp=1431857103000&user=a%20b%2Bc&event=impression&source=x", daemon.url());
    let stored = client.post(&url).body("a body is allowed and ignored").send().await.unwrap();
    assert_eq!(stored.status(), StatusCode::NO_CONTENT);
    assert_eq!(stored.text().await.unwrap(), "");
    let impression = "select user_name from analytics.events where kind = 'impression'";
    let row = database.client().await.query_one(impression, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "a b+c");

    let head = client.head(format!("{}/analytics?timestamp=1431857103000", daemon.url())).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.text().await.unwrap(), "");
}

#[tokio::test]
async fn two_replicas_on_one_database_see_each_others_events_at_once() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let replicas = [Daemon::start(database.url()).await, Daemon::start(database.url()).await];
    let at = Utc::now();
    for n in 0..20 {
        assert_eq!(replicas[n % 2].post(at, &format!("user-{}", n / 2), "click").await, StatusCode::NO_CONTENT);
        let (users, clicks) = (n as u64 / 2 + 1, n as u64 + 1);
        assert_eq!(replicas[(n + 1) % 2].counts(at).await, counts(users, clicks, 0));
    }
}
