use chrono::{DateTime, Utc};
use harness::TestDatabase;
use model::HourCounts;

pub(crate) fn at(rfc3339: &str) -> DateTime<Utc> {
    rfc3339.parse().unwrap()
}

pub(crate) fn counts(unique_users: u64, clicks: u64, impressions: u64) -> HourCounts {
    HourCounts { unique_users, clicks, impressions }
}

/// How many raw events are stored.
pub(crate) async fn stored_events(database: &TestDatabase) -> i64 {
    database.client().await.query_one("select count(*) from analytics.events", &[]).await.unwrap().get(0)
}
