//! The unique users of any range of hours: the union of the sets of its settled days and hours, and of who was seen in its open hours. It reads no
//! raw event, so it can tell them also when those are gone.

use std::{collections::HashMap, iter, ops::RangeInclusive, pin::pin};

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::Transaction;
use futures_util::TryStreamExt;
use model::{Hour, HourCounts, HourRow, SiteId};
use tokio_postgres::{IsolationLevel, Row, types::ToSql};

use crate::{
    Store, StoreError,
    audit::bounds,
    store::{counts_in, hour_in},
    visitor_set::VisitorSet,
};

/// The distinct users of some hours of a site together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UniqueUsers {
    /// So many.
    Exactly(u64),
    /// Nobody can tell, because no set of visitors is kept of these settled hours, ascending.
    Unknown(Vec<Hour>),
}

/// What a range of hours of a site says, all of it at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeCounts {
    /// Every hour of the range, ascending, with zeros for those without events.
    pub hours: Vec<HourRow>,
    /// The unique users of all hours together.
    pub unique_users: UniqueUsers,
    /// Those of each period that was asked for.
    pub of_periods: Vec<UniqueUsers>,
}

impl UniqueUsers {
    /// Those of two shards together, which have no visitor in common.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Exactly(one), Self::Exactly(other)) => Self::Exactly(one + other),
            (Self::Unknown(mut hours), Self::Unknown(others)) => {
                hours.extend(others);
                hours.sort_unstable();
                hours.dedup();
                Self::Unknown(hours)
            }
            (unknown @ Self::Unknown(_), Self::Exactly(_)) | (Self::Exactly(_), unknown @ Self::Unknown(_)) => unknown,
        }
    }
}

/// What was found of a period so far.
#[derive(Default)]
struct Found {
    visitors: VisitorSet,
    /// How many visitors have no number, and so are in no set.
    unnumbered: u64,
    unknown: Vec<Hour>,
}

impl Found {
    fn unique_users(mut self) -> UniqueUsers {
        if self.unknown.is_empty() {
            return UniqueUsers::Exactly(self.visitors.len() + self.unnumbered);
        }
        self.unknown.sort_unstable();
        UniqueUsers::Unknown(self.unknown)
    }
}

impl Store {
    /// The counts of a range of hours of a site and its unique users, and those of periods of it. Whatever was committed before the call is
    /// counted. The periods lie in the range, in any order.
    pub async fn range_counts(
        &self,
        site: SiteId,
        range: &RangeInclusive<Hour>,
        periods: &[RangeInclusive<Hour>],
    ) -> Result<RangeCounts, StoreError> {
        self.read(async |client| {
            let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
            let transaction = snapshot.start().await?;
            let hours = hours(&transaction, site, range).await?;
            let all: Vec<_> = iter::once(range).chain(periods).cloned().collect();
            let mut found = unique_users(&transaction, site, &all).await?.into_iter();
            transaction.commit().await?;
            let unique_users = found.next().expect("the whole range is the first period");
            Ok(RangeCounts { hours, unique_users, of_periods: found.collect() })
        })
        .await
    }
}

async fn hours(
    transaction: &Transaction<'_>,
    site: SiteId,
    range: &RangeInclusive<Hour>,
) -> Result<Vec<HourRow>, StoreError> {
    let (first, last) = bounds(range);
    let statement = transaction.prepare_cached("select * from analytics.hours($1, $2, $3)").await?;
    let rows = transaction.query(&statement, &[&first, &last, &site.number()]).await?;
    let row_of = |row: &Row| HourRow { hour: hour_in(row, 0), counts: counts_in(row, 1), settled: row.get(4) };
    let counted: HashMap<Hour, HourRow> = rows.iter().map(row_of).map(|row| (row.hour, row)).collect();
    if counted.len() != rows.len() {
        return Err(StoreError::Inconsistent("an hour is open and settled at the same time"));
    }
    let empty = |hour| HourRow { hour, counts: HourCounts::default(), settled: false };
    let all = iter::successors(Some(*range.start()), |hour| hour.next()).take_while(|hour| hour <= range.end());
    Ok(all.map(|hour| counted.get(&hour).copied().unwrap_or_else(|| empty(hour))).collect())
}

async fn unique_users(
    transaction: &Transaction<'_>,
    site: SiteId,
    periods: &[RangeInclusive<Hour>],
) -> Result<Vec<UniqueUsers>, StoreError> {
    let firsts: Vec<DateTime<Utc>> = periods.iter().map(|period| bounds(period).0).collect();
    let behinds: Vec<DateTime<Utc>> = periods.iter().map(|period| bounds(period).1 + TimeDelta::hours(1)).collect();
    let site = site.number();
    let mut found: Vec<Found> = iter::repeat_with(Found::default).take(periods.len()).collect();

    let sets = "select period, hour, visitors from analytics.visitor_sets($1, $2, $3)";
    let statement = transaction.prepare_cached(sets).await?;
    let parameters: [&(dyn ToSql + Sync); 3] = [&firsts, &behinds, &site];
    // One set after the other, so that memory holds few of them.
    let mut rows = pin!(transaction.query_raw(&statement, parameters).await?);
    while let Some(row) = rows.try_next().await? {
        let found = &mut found[place_in(&row)];
        match row.get::<_, Option<&[u8]>>(2) {
            Some(visitors) => found.visitors.unite(&VisitorSet::from_bytes(visitors)?),
            None => found.unknown.push(hour_in(&row, 1)),
        }
    }

    let open = "select period, numbers, unnumbered from analytics.open_visitors($1, $2, $3)";
    let statement = transaction.prepare_cached(open).await?;
    for row in transaction.query(&statement, &[&firsts, &behinds, &site]).await? {
        let found = &mut found[place_in(&row)];
        let numbers: Option<Vec<i32>> = row.get(1);
        found.visitors.unite(&numbers.unwrap_or_default().into_iter().collect());
        found.unnumbered += u64::try_from(row.get::<_, i64>(2)).unwrap_or_default();
    }
    Ok(found.into_iter().map(Found::unique_users).collect())
}

fn place_in(row: &Row) -> usize {
    usize::try_from(row.get::<_, i64>(0) - 1).expect("the ordinality of an array begins at 1")
}
