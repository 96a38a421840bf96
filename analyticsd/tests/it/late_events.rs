use std::time::Duration;

use chrono::{DateTime, Utc};
use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours};
use reqwest::StatusCode;
use tokio::time::timeout;

use crate::support::{at, counts};

on_both_flavours!(a_late_event_is_counted_at_its_204_and_the_hour_settles_again);

async fn wait_until_settled(database: &TestDatabase, hour: DateTime<Utc>) {
    let client = database.client().await;
    let settled = "select exists (select from analytics.settled_hours where hour = $1)";
    while !client.query_one(settled, &[&hour]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_late_event_is_counted_at_its_204_and_the_hour_settles_again(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "0s"]).await;
    let hour = at("2015-05-17T10:00:00Z");
    assert_eq!(daemon.post(hour, "anna", "click").await, StatusCode::NO_CONTENT);
    wait_until_settled(&database, hour).await;
    assert_eq!(daemon.counts(hour).await, counts(1, 1, 0));

    assert_eq!(daemon.post(at("2015-05-17T10:59:59.999Z"), "ben", "impression").await, StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(hour).await, counts(2, 1, 1));
    wait_until_settled(&database, hour).await;
    assert_eq!(daemon.counts(hour).await, counts(2, 1, 1));
    let batch = "{\"timestamp\":1431857103000,\"user\":\"carl\",\"event\":\"click\"}";
    assert_eq!(daemon.post_batch(batch).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(hour).await, counts(3, 2, 1));
}

/// The test holds the hour's lock, as a rebuild of a million events would.
#[tokio::test]
async fn while_an_old_hour_is_being_rebuilt_the_present_is_stored_and_counted() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = std::sync::Arc::new(Daemon::start(database.url()).await);
    let (old, now) = (at("2015-05-17T10:00:00Z"), Utc::now());
    let mut holder = database.client().await;
    let holding = holder.transaction().await.unwrap();
    let lock = "select pg_advisory_xact_lock(analytics.lock_class('hours'), analytics.hour_number($1))";
    holding.execute(lock, &[&old]).await.unwrap();

    let late = tokio::spawn({
        let daemon = daemon.clone();
        async move { daemon.post(old, "anna", "click").await }
    });
    let waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted and database = \
                 (select oid from pg_database where datname = current_database()))";
    let client = database.client().await;
    while !client.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..10 {
        let present = timeout(Duration::from_secs(5), daemon.post(now, "ben", "click"));
        assert_eq!(present.await.expect("the present does not wait for the past"), StatusCode::NO_CONTENT);
    }
    assert_eq!(daemon.counts(now).await, counts(1, 10, 0));
    assert_eq!(daemon.counts(old).await, counts(0, 0, 0), "reading the past does not wait either");

    assert!(!late.is_finished());
    holding.rollback().await.unwrap();
    assert_eq!(late.await.unwrap(), StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(old).await, counts(1, 1, 0));
}
