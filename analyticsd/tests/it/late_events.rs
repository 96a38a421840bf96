use std::time::Duration;

use chrono::{DateTime, Utc};
use db::Flavour;
use reqwest::StatusCode;
use testkit::{Daemon, TestDatabase, on_both_flavours};

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
