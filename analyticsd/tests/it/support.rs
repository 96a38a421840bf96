use std::time::Duration;

use chrono::{DateTime, Utc};
use harness::TestDatabase;
use model::HourCounts;
use tokio_postgres::Client;

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

/// The functions of the schema that commit events, that rebuild a settled hour for late ones, and that read counts.
pub(crate) const INGEST: &str = "analytics.ingest";
pub(crate) const REOPEN: &str = "analytics.reopen";
pub(crate) const COUNTS: &str = "analytics.counts";

/// Waits until so many calls of the daemon of this function wait for a lock. Its other statements, such as those of the
/// settler, may wait for the same lock.
pub(crate) async fn until_waiting(client: &Client, function: &str, calls: i64) {
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
                   and application_name = 'analyticsd' and wait_event_type = 'Lock' and query like '%' || $1 || '%'";
    while client.query_one(waiting, &[&function]).await.unwrap().get::<_, i64>(0) != calls {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
