use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Hour, HourCounts};

/// The answer of `GET /analytics/hours`: every hour of a range, or the first page of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoursPage {
    /// The first hour of this page.
    pub from: Hour,
    /// The last hour of this page.
    pub to: Hour,
    /// Every hour from the first to the last, ascending; zeros for hours without events.
    pub hours: Vec<HourRow>,
    /// Sums over the hours of this page.
    pub totals: Totals,
    /// Distinct users over all hours of this page together; null if nobody can tell. It is not the sum of the hours,
    /// in which a user who comes again is counted again.
    pub unique_users: Option<u64>,
    /// Why nobody can tell: the hours that were settled without the set of their visitors. `analytics-cli backfill`
    /// makes the sets of those that have raw events still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique_users_unknown_in: Vec<Hour>,
    /// Where the next page is, if the range goes on: a path with its query.
    pub next: Option<String>,
}

/// One hour of a [`HoursPage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HourRow {
    /// Which hour.
    pub hour: Hour,
    /// Its exact counts.
    #[serde(flatten)]
    pub counts: HourCounts,
    /// Whether the hour is closed. An event that comes late opens it again.
    pub settled: bool,
}

/// What can be summed over hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Totals {
    /// Clicks.
    pub clicks: u64,
    /// Impressions.
    pub impressions: u64,
}

impl FromIterator<HourCounts> for Totals {
    fn from_iter<I: IntoIterator<Item = HourCounts>>(counts: I) -> Self {
        counts.into_iter().fold(Self::default(), |sum, counts| Self {
            clicks: sum.clicks + counts.clicks,
            impressions: sum.impressions + counts.impressions,
        })
    }
}

impl HoursPage {
    /// The most hours of one page.
    pub const MAX_HOURS: usize = 1_000;
}
