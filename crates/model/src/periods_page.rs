use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Hour, Step, Totals};

/// The answer of `GET /analytics/periods`: every period of a range, or the first page of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeriodsPage {
    /// The first hour of this page, with which its first period begins.
    pub from: Hour,
    /// The last hour of this page, with which its last period ends.
    pub to: Hour,
    /// How long the periods are.
    pub step: Step,
    /// The time zone whose days they are made of.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// Every period of the page, ascending; zeros for those without events.
    pub periods: Vec<Period>,
    /// Sums over the periods of this page.
    pub totals: Totals,
    /// Distinct users over all periods of this page together; null if nobody can tell. It is not the sum of the
    /// periods, in which a user who comes again is counted again.
    pub unique_users: Option<u64>,
    /// Why nobody can tell: the hours that were settled without the set of their visitors, or the first 1,000 of them.
    /// `analytics-cli backfill` makes the sets of those that have raw events still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique_users_unknown_in: Vec<Hour>,
    /// Where this site has events; null without one.
    pub stored: Option<StoredHours>,
    /// Where the next page is, if the range goes on: a path with its query.
    pub next: Option<String>,
}

/// One period of a [`PeriodsPage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Period {
    /// When it begins, with the offset of the time zone, as RFC 3339.
    #[schema(format = DateTime, example = "2015-05-17T00:00:00+02:00")]
    pub start: String,
    /// Its first hour.
    pub from: Hour,
    /// Its last hour. The current period may not be over yet.
    pub to: Hour,
    /// Distinct users over all its hours together; null if nobody can tell.
    pub unique_users: Option<u64>,
    /// Clicks.
    pub clicks: u64,
    /// Impressions.
    pub impressions: u64,
    /// Whether each of its hours that has an event is closed. An event that comes late opens an hour again.
    pub settled: bool,
}

/// The first and the last hour of a site that have an event, whatever range was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredHours {
    /// The first hour.
    pub first: Hour,
    /// The last hour.
    pub last: Hour,
}

impl PeriodsPage {
    /// The most periods of one page.
    pub const MAX_PERIODS: usize = 1_000;
}
