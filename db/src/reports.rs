use std::{collections::HashMap, iter, ops::RangeInclusive};

use chrono::{DateTime, Utc};
use model::{Hour, HourCounts, HourRow};
use tokio_postgres::Row;

use crate::{
    Store, StoreError,
    store::{COUNT_SOUNDLY, counts_in, hour_in},
};

/// The distinct users of a range of hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniqueUsers {
    /// So many, counted from the raw events.
    Counted(u64),
    /// Nobody can tell any more: raw events before this instant are deleted, and the range has some of them.
    NotKept {
        /// Raw events are kept from here on.
        kept_from: DateTime<Utc>,
    },
}

impl Store {
    /// Every hour of a range, ascending, with zeros for those without events. All are seen at one instant, which is after the call.
    pub async fn hours(&self, range: &RangeInclusive<Hour>) -> Result<Vec<HourRow>, StoreError> {
        let (first, last) = bounds(range);
        let rows = self
            .read(async |client| {
                let statement = client.prepare_cached("select * from analytics.hours($1, $2)").await?;
                Ok(client.query(&statement, &[&first, &last]).await?)
            })
            .await?;
        let row_of = |row: &Row| HourRow { hour: hour_in(row, 0), counts: counts_in(row, 1), settled: row.get(4) };
        let counted: HashMap<Hour, HourRow> = rows.iter().map(row_of).map(|row| (row.hour, row)).collect();
        if counted.len() != rows.len() {
            return Err(StoreError::Inconsistent("an hour is open and settled at the same time"));
        }
        let empty = |hour| HourRow { hour, counts: HourCounts::default(), settled: false };
        let all = iter::successors(Some(*range.start()), |hour| hour.next()).take_while(|hour| hour <= range.end());
        Ok(all.map(|hour| counted.get(&hour).copied().unwrap_or_else(|| empty(hour))).collect())
    }

    /// The distinct users of a range of hours, counted from its raw events, which takes the longer the more there are.
    pub async fn unique_users(&self, range: &RangeInclusive<Hour>) -> Result<UniqueUsers, StoreError> {
        let (first, last) = bounds(range);
        self.read(async |client| {
            client.batch_execute(COUNT_SOUNDLY).await?;
            let statement =
                client.prepare_cached("select unique_users, kept_from from analytics.unique_users($1, $2)").await?;
            loop {
                let row = client.query_one(&statement, &[&first, &last]).await?;
                let kept_from: DateTime<Utc> = row.get(1);
                let Some(users) = row.get::<_, Option<i64>>(0) else { return Ok(UniqueUsers::NotKept { kept_from }) };
                // Partitions are deleted for everybody at once, also for a count that began before. What is kept moves first, by days.
                let now = client.query_one("select accepts_from from analytics.settings", &[]).await?;
                if now.get::<_, DateTime<Utc>>(0) == kept_from {
                    return Ok(UniqueUsers::Counted(u64::try_from(users).unwrap_or_default()));
                }
            }
        })
        .await
    }

    /// What the names of visitors without a script are derived with.
    pub async fn visitor_salt(&self) -> Result<String, StoreError> {
        self.read(async |client| Ok(client.query_one("select visitor_salt from analytics.settings", &[]).await?.get(0)))
            .await
    }
}

fn bounds(range: &RangeInclusive<Hour>) -> (DateTime<Utc>, DateTime<Utc>) {
    (range.start().start().to_utc(), range.end().start().to_utc())
}
