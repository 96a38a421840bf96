//! Events that cannot be counted exactly, because raw events of their hour are gone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use db::{Retention, Store};
use model::{Hour, SiteHour, SiteId, Timestamp};
use tokio::time::timeout;

/// How long the answer to a late event may wait for the time from which events are accepted.
const BOUND_PATIENCE: Duration = Duration::from_secs(1);

/// An event of an hour whose raw events are no longer kept, or not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired {
    /// The event's time; for several such events of a request, the first.
    pub(crate) at: Timestamp,
    /// The event's site.
    pub(crate) site: SiteId,
    /// The time from which events are accepted, if the database answered; 1970 if all are.
    pub(crate) accepts_from: Option<DateTime<Utc>>,
}

impl Expired {
    /// Whether retention has not reached its hour, so that something else deleted the raw events.
    pub(crate) fn is_within_retention(self) -> bool {
        self.accepts_from.is_some_and(|from| from.timestamp_millis() <= self.at.millis())
    }
}

/// The time from which a shard accepts events, 1970 if it accepts all; none if it does not answer soon.
pub(crate) async fn accepts_from(store: &Store) -> Option<DateTime<Utc>> {
    // The query runs in a task of its own, so that the timeout does not cancel it and leave a pooled connection in an
    // unknown state.
    let store = store.clone();
    let asked = tokio::spawn(async move { Retention::accepts_from(&store).await });
    match timeout(BOUND_PATIENCE, asked).await {
        Ok(Ok(Ok(bound))) => Some(bound.unwrap_or_default()),
        _ => None,
    }
}

/// Logs that raw events of an hour are missing, although retention did not delete them, if they are of any site.
pub(crate) fn log_missing_events(hour: Hour, sites: &[SiteId]) {
    let Some(&site) = sites.first() else { return };
    tracing::error!(
        hour = %SiteHour { hour, site }, sites = sites.len(),
        "raw events of a settled hour are missing, so it cannot be reopened for a late event; its counts stay as they \
         are, and its late events are refused. `analytics-cli verify` shows what is left of it"
    );
}
