//! Forgets a visitor: deletes their raw events, and counts the hours that had them anew.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use model::{Hour, SiteHour, SiteId, UserName};

use crate::{Auditor, StoreError, audit::bounds, store::hour_in};

/// Raw events of one visitor in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traces {
    /// Which hour.
    pub hour: Hour,
    /// How many.
    pub events: u64,
}

/// What became of an hour of which somebody's raw events were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// How many raw events were deleted.
    pub deleted: u64,
    /// Whether the hour is counted anew. If not, its raw events are no longer all there, and its counts stay as they are.
    pub rebuilt: bool,
}

impl Auditor {
    /// The hours of a part, as [`Auditor::parts`] makes them, in which a visitor of a site has raw events.
    pub async fn traces(
        &self,
        user: &UserName,
        site: SiteId,
        part: &RangeInclusive<Hour>,
    ) -> Result<Vec<Traces>, StoreError> {
        let (first, last) = bounds(part);
        let statement = "select hour, events from analytics.hours_of($1, $2, $3, $4)";
        let rows =
            self.store.maintain(self.client.query(statement, &[&user.as_str(), &site.number(), &first, &last])).await?;
        Ok(rows.iter().map(|row| Traces { hour: hour_in(row, 0), events: unsigned(row.get(1)) }).collect())
    }

    /// The first hour of which raw events are kept; none if all are. Of earlier ones there are counts, which name nobody.
    pub async fn kept_from(&self) -> Result<Option<Hour>, StoreError> {
        let statement = "select nullif(accepts_from, timestamptz 'epoch') from analytics.settings";
        let row = self.store.maintain(self.client.query_one(statement, &[])).await?;
        Ok(row.get::<_, Option<DateTime<Utc>>>(0).map(|_| hour_in(&row, 0)))
    }

    /// Deletes a visitor's raw events of an hour of a site and counts the hour anew, in one transaction. The hour is open afterwards, and settles like any other.
    pub async fn forget(&self, user: &UserName, SiteHour { hour, site }: SiteHour) -> Result<Forgotten, StoreError> {
        let statement = "select deleted, rebuilt from analytics.forget($1, $2, $3)";
        let (user, start) = (user.as_str(), hour.start().to_utc());
        let row = self.store.maintain(self.client.query_one(statement, &[&user, &site.number(), &start])).await?;
        Ok(Forgotten { deleted: unsigned(row.get(0)), rebuilt: row.get(1) })
    }

    /// Whether the name of a visitor of a site has a number, by which sets of visitors know them.
    pub async fn has_number(&self, user: &UserName, site: SiteId) -> Result<bool, StoreError> {
        let find = "select exists (select from analytics.visitors where name = $1 and site = $2)";
        let row = self.store.maintain(self.client.query_one(find, &[&user.as_str(), &site.number()])).await?;
        Ok(row.get(0))
    }

    /// Takes the name of a visitor of a site away from the number that sets of visitors know them by.
    pub async fn forget_name(&self, user: &UserName, site: SiteId) -> Result<(), StoreError> {
        let forget = "select analytics.forget_visitor($1, $2)";
        self.store.maintain(self.client.execute(forget, &[&user.as_str(), &site.number()])).await.map(drop)
    }
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
