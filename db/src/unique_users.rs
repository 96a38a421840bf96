//! The unique users of any range of hours: the union of the sets of its settled days and hours, and of who was seen in
//! its open hours. It reads no raw event, so it can tell them also when those are gone.

use std::{collections::HashMap, iter, ops::RangeInclusive, pin::pin, slice};

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
}

/// What periods of a site say that follow one another, all of it at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodCounts {
    /// Each of them, in their order.
    pub periods: Vec<PeriodRow>,
    /// The unique users of all of them together.
    pub unique_users: UniqueUsers,
    /// The first and the last hour of the site that have an event, whether or not they are in a period.
    pub stored: Option<(Hour, Hour)>,
}

/// What a period says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodRow {
    /// The distinct users of its hours together.
    pub unique_users: UniqueUsers,
    /// Clicks.
    pub clicks: u64,
    /// Impressions.
    pub impressions: u64,
    /// Whether it has an event, and each of its hours that has one is settled.
    pub settled: bool,
}

impl UniqueUsers {
    /// How many, and the hours without which nobody can tell.
    #[must_use]
    pub fn told(self) -> (Option<u64>, Vec<Hour>) {
        match self {
            Self::Exactly(users) => (Some(users), Vec::new()),
            Self::Unknown(hours) => (None, hours),
        }
    }

    /// Those that were counted, if the range is one hour: their number stays also where their set is not kept.
    fn or_of_hour(self, range: &RangeInclusive<Hour>, counted: u64) -> Self {
        if range.start() == range.end() { Self::Exactly(counted) } else { self }
    }

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
    /// Adds a set that was read, or that there is none.
    fn add(&mut self, set: &Row) -> Result<(), StoreError> {
        match set.get::<_, Option<&[u8]>>(2) {
            Some(visitors) => self.visitors.unite(&VisitorSet::from_bytes(visitors)?),
            None => self.unknown.push(hour_in(set, 1)),
        }
        Ok(())
    }

    fn unique_users(mut self) -> UniqueUsers {
        if self.unknown.is_empty() {
            return UniqueUsers::Exactly(self.visitors.len() + self.unnumbered);
        }
        self.unknown.sort_unstable();
        UniqueUsers::Unknown(self.unknown)
    }
}

impl Store {
    /// The counts of a range of hours of a site and its unique users. Whatever was committed before the call is counted.
    pub async fn range_counts(&self, site: SiteId, range: &RangeInclusive<Hour>) -> Result<RangeCounts, StoreError> {
        self.at_one_instant(async |transaction| {
            let hours = hours(transaction, site, range).await?;
            let (_, unique_users) = unique_users(transaction, site, slice::from_ref(range)).await?;
            let unique_users = unique_users.or_of_hour(range, hours[0].counts.unique_users);
            Ok(RangeCounts { hours, unique_users })
        })
        .await
    }

    /// The same for periods that follow one another, at least one.
    pub async fn period_counts(
        &self,
        site: SiteId,
        periods: &[RangeInclusive<Hour>],
    ) -> Result<PeriodCounts, StoreError> {
        self.at_one_instant(async |transaction| {
            let sums = sums(transaction, site, periods).await?;
            let (of_each, unique_users) = unique_users(transaction, site, periods).await?;
            let all = *periods[0].start()..=*periods[periods.len() - 1].end();
            let unique_users = unique_users.or_of_hour(&all, sums[0].0.unique_users);
            let row = |((hours, of_it), (sum, settled)): ((&RangeInclusive<Hour>, UniqueUsers), (HourCounts, bool))| {
                let HourCounts { unique_users, clicks, impressions } = sum;
                PeriodRow { unique_users: of_it.or_of_hour(hours, unique_users), clicks, impressions, settled }
            };
            let rows = periods.iter().zip(of_each).zip(sums).map(row).collect();
            let stored = stored(transaction, site).await?;
            Ok(PeriodCounts { periods: rows, unique_users, stored })
        })
        .await
    }

    async fn at_one_instant<T>(
        &self,
        read: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, StoreError> + Clone,
    ) -> Result<T, StoreError> {
        self.read(async |client| {
            let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
            let transaction = snapshot.start().await?;
            let answer = read(&transaction).await?;
            transaction.commit().await?;
            Ok(answer)
        })
        .await
    }
}

/// When each period begins, and when the hour behind it does.
fn bounds_of<'a>(
    periods: impl IntoIterator<Item = &'a RangeInclusive<Hour>>,
) -> (Vec<DateTime<Utc>>, Vec<DateTime<Utc>>) {
    periods.into_iter().map(bounds).map(|(first, last)| (first, last + TimeDelta::hours(1))).unzip()
}

/// The sums over the hours of each period, and whether it is settled.
async fn sums(
    transaction: &Transaction<'_>,
    site: SiteId,
    periods: &[RangeInclusive<Hour>],
) -> Result<Vec<(HourCounts, bool)>, StoreError> {
    let (firsts, behinds) = bounds_of(periods);
    let sum = "select period, unique_users, clicks, impressions, settled from analytics.period_counts($1, $2, $3)";
    let statement = transaction.prepare_cached(sum).await?;
    let mut sums = vec![(HourCounts::default(), false); periods.len()];
    for row in transaction.query(&statement, &[&firsts, &behinds, &site.number()]).await? {
        sums[place_in(&row)] = (counts_in(&row, 1), row.get(4));
    }
    Ok(sums)
}

async fn stored(transaction: &Transaction<'_>, site: SiteId) -> Result<Option<(Hour, Hour)>, StoreError> {
    let statement = transaction.prepare_cached("select first, last from analytics.stored_hours($1)").await?;
    let row = transaction.query_one(&statement, &[&site.number()]).await?;
    let has_events = row.get::<_, Option<DateTime<Utc>>>(0).is_some();
    Ok(has_events.then(|| (hour_in(&row, 0), hour_in(&row, 1))))
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

/// The unique users of each period, and of all of them together. Memory holds one set, the union of the period to which
/// it belongs, that of all, and who is seen in open hours.
async fn unique_users(
    transaction: &Transaction<'_>,
    site: SiteId,
    periods: &[RangeInclusive<Hour>],
) -> Result<(Vec<UniqueUsers>, UniqueUsers), StoreError> {
    let all = *periods[0].start()..=*periods[periods.len() - 1].end();
    let mut open = open_visitors(transaction, site, iter::once(&all).chain(periods)).await?.into_iter();
    let mut of_all = open.next().expect("all periods together come first");

    let (firsts, behinds) = bounds_of(periods);
    let sets = "select period, hour, visitors from analytics.visitor_sets($1, $2, $3)";
    let statement = transaction.prepare_cached(sets).await?;
    let parameters: [&(dyn ToSql + Sync); 3] = [&firsts, &behinds, &site.number()];
    let mut rows = pin!(transaction.query_raw(&statement, parameters).await?);
    let mut row = rows.try_next().await?;
    let mut of_each = Vec::with_capacity(periods.len());
    for mut found in open {
        while let Some(set) = row.take_if(|row| place_in(row) == of_each.len()) {
            found.add(&set)?;
            row = rows.try_next().await?;
        }
        of_all.visitors.unite(&found.visitors);
        of_all.unknown.extend(&found.unknown);
        of_each.push(found.unique_users());
    }
    if row.is_some() {
        return Err(StoreError::Inconsistent("sets of visitors do not come in the order of their periods"));
    }
    Ok((of_each, of_all.unique_users()))
}

/// Who was seen in the open hours of each period.
async fn open_visitors(
    transaction: &Transaction<'_>,
    site: SiteId,
    periods: impl Iterator<Item = &RangeInclusive<Hour>>,
) -> Result<Vec<Found>, StoreError> {
    let (firsts, behinds) = bounds_of(periods);
    let open = "select period, numbers, unnumbered from analytics.open_visitors($1, $2, $3)";
    let statement = transaction.prepare_cached(open).await?;
    let mut found: Vec<Found> = iter::repeat_with(Found::default).take(firsts.len()).collect();
    let parameters: [&(dyn ToSql + Sync); 3] = [&firsts, &behinds, &site.number()];
    // Those of one hour after the other, so that memory holds few of them.
    let mut rows = pin!(transaction.query_raw(&statement, parameters).await?);
    while let Some(row) = rows.try_next().await? {
        let numbers: Option<Vec<i32>> = row.get(1);
        let found = &mut found[place_in(&row)];
        found.visitors.unite(&numbers.unwrap_or_default().into_iter().collect());
        found.unnumbered += u64::try_from(row.get::<_, i64>(2)).unwrap_or_default();
    }
    Ok(found)
}

fn place_in(row: &Row) -> usize {
    usize::try_from(row.get::<_, i64>(0) - 1).expect("the ordinality of an array begins at 1")
}
