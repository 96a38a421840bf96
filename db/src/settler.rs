use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use model::{Hour, HourCounts, SiteHour, SiteId};

use tokio_postgres::Row;

use crate::{
    Connected, Store, StoreError,
    store::{counts_in, hour_in, site_in},
    visitor_set::VisitorSet,
};

/// What came of settling an hour of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleOutcome {
    /// The aggregate equals the counters and answers for the hour from now on.
    Settled,
    /// Events came in meanwhile. The hour stays open; try again when it is quiet.
    Busy,
    /// The aggregate, computed from the raw events, or the set of visitors does not equal the counters although nothing came in. The hour stays
    /// open.
    Differs {
        /// What the counters say, and every GET.
        counters: HourCounts,
        /// What the database computed from the raw events.
        aggregate: HourCounts,
        /// How many visitors are in the set of those who were seen.
        visitors: u64,
    },
}

/// What waits for the settler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Hours that are not settled, of each site by themselves.
    pub open_hours: u64,
    /// Those of them that are ripe: see [`Settler::ripe_hours`].
    pub ripe_hours: u64,
    /// For how long the one of them that became ripe first has been so; none if there is none.
    pub lag: Option<Duration>,
    /// How much further back raw events are kept than they are to be, because they could not be deleted yet, or wait for somebody's word.
    pub overdue: Duration,
    /// Settled hours that take no events, because raw events of them were found to be missing.
    pub closed_hours: u64,
}

/// When an hour is ripe, in SQL: when the one after it is over, and it has been quiet for `$1` milliseconds. What was written while the clock of the
/// database was ahead says nothing of when that was.
const RIPE_AT: &str = "greatest(hour + interval '2 hours', \
                       max(written_at) filter (where written_at < now() + interval '1 hour') + $1::bigint * interval '1 millisecond')";

/// The one settler among all replicas, for as long as its connection lives.
pub struct Settler {
    store: Store,
    client: Connected,
}

impl Settler {
    /// Becomes the settler, or returns none while another replica is.
    pub async fn elect(store: &Store) -> Result<Option<Self>, StoreError> {
        let client = store.maintenance_client().await?;
        let elected: bool = store
            .bounded(async {
                Ok(client
                    .query_one("select pg_try_advisory_lock(analytics.lock_class('settler'), 0)", &[])
                    .await?
                    .get(0))
            })
            .await?;
        Ok(elected.then(|| Self { store: store.clone(), client }))
    }

    /// Open hours that ended at least one hour ago and were not written to for `quiet`, the oldest first, `limit` at most, each with the sites
    /// of which that is so, leaving out those named in `except`.
    ///
    /// The hour before the current one is left open, since it belongs to the lane of the present, which must never wait for a rebuild.
    pub async fn ripe_hours(
        &self,
        quiet: Duration,
        except: &[SiteHour],
        limit: u32,
    ) -> Result<Vec<(Hour, Vec<SiteId>)>, StoreError> {
        let hours: Vec<DateTime<Utc>> = except.iter().map(|it| it.hour.start().to_utc()).collect();
        let sites: Vec<i32> = except.iter().map(|it| it.site.number()).collect();
        let statement = format!(
            "select hour, array_agg(site order by site) from ( \
                 select hour, site from analytics.hour_counts \
                 where hour < date_bin(interval '1 hour', now(), timestamptz 'epoch') - interval '1 hour' \
                 and (hour, site) not in (select * from unnest($3::timestamptz[], $4::integer[])) \
                 and site not in (select id from analytics.sites where deleted_at is not null) \
                 group by hour, site having {RIPE_AT} < now() \
             ) as ripe group by hour order by hour limit $2"
        );
        let (quiet, limit) = (millis(quiet), i64::from(limit));
        let rows = self.store.call(self.client.query(&statement, &[&quiet, &limit, &hours, &sites])).await?;
        let sites_in = |row: &Row| row.get::<_, Vec<i32>>(1).into_iter().filter_map(SiteId::new).collect();
        Ok(rows.iter().map(|row| (hour_in(row, 0), sites_in(row))).collect())
    }

    /// How many hours are open and ripe, all of them, for how long the first has been, and how far deletion lags behind the retention setting.
    pub async fn backlog(&self, quiet: Duration) -> Result<Backlog, StoreError> {
        let statement = format!(
            "select count(*), count(*) filter (where ripe_at < now()), \
             (extract(epoch from now() - min(ripe_at) filter (where ripe_at < now())) * 1000)::bigint, \
             (select extract(epoch from date_trunc('day', now() - retention, 'UTC') - accepts_from)::bigint from analytics.settings \
             where accepts_from > timestamptz 'epoch' or due_before = timestamptz 'epoch'), \
             (select count(*) from analytics.settled_hours where events_missing_since is not null) \
             from (select {RIPE_AT} as ripe_at from analytics.hour_counts where site not in (select id from analytics.sites where deleted_at is not null) \
             group by hour, site) as open_hours"
        );
        let row = self.store.call(self.client.query_one(&statement, &[&millis(quiet)])).await?;
        let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
        let duration = |column, of_number: fn(u64) -> Duration| {
            row.get::<_, Option<i64>>(column).map(|number| of_number(u64::try_from(number).unwrap_or_default()))
        };
        Ok(Backlog {
            open_hours: number(0),
            ripe_hours: number(1),
            lag: duration(2, Duration::from_millis),
            overdue: duration(3, Duration::from_secs).unwrap_or_default(),
            closed_hours: number(4),
        })
    }

    /// Computes the aggregate of one hour from its raw events and, for each of the sites of which it equals the counters, lets it answer for
    /// the hour. What came of it, for those sites of which the hour was open.
    pub async fn settle(&self, hour: Hour, sites: &[SiteId]) -> Result<Vec<(SiteId, SettleOutcome)>, StoreError> {
        let start = hour.start().to_utc();
        let sites: Vec<i32> = sites.iter().map(|site| site.number()).collect();
        self.store
            .bounded_maintenance(async {
                let before = self
                    .client
                    .query(
                        "select site, sum(unique_users)::bigint, sum(clicks)::bigint, sum(impressions)::bigint \
                         from analytics.hour_counts where hour = $1 and site = any ($2) group by site",
                        &[&start, &sites],
                    )
                    .await?;
                if before.is_empty() {
                    return Ok(Vec::new());
                }
                let before: HashMap<SiteId, HourCounts> =
                    before.iter().map(|row| (site_in(row, 0), counts_in(row, 1))).collect();

                self.client.execute("call analytics.refresh_hour($1)", &[&start]).await?;

                let (sets, names) = self.visitors(start, &sites).await?;
                let compared = self
                    .client
                    .query(
                        "select site, is_settled, counted_users, counted_clicks, counted_impressions, \
                         coalesce(aggregate_users, 0), coalesce(aggregate_clicks, 0), coalesce(aggregate_impressions, 0), \
                         coalesce(visitors_in_set, 0), is_set_of_all \
                         from analytics.settle($1, $2, $3, $4)",
                        &[&start, &sites, &sets, &names],
                    )
                    .await?;
                let outcome = |row: &Row| {
                    let (site, counters, aggregate) = (site_in(row, 0), counts_in(row, 2), counts_in(row, 5));
                    let visitors = u64::try_from(row.get::<_, i64>(8)).unwrap_or_default();
                    let outcome = if row.get(1) {
                        SettleOutcome::Settled
                    } else if before.get(&site) == Some(&counters) && row.get(9) {
                        SettleOutcome::Differs { counters, aggregate, visitors }
                    } else {
                        SettleOutcome::Busy
                    };
                    (site, outcome)
                };
                Ok(compared.iter().map(outcome).collect())
            })
            .await
    }

    /// The set of the visitors of an hour of each of the sites, and what tells their names; none for a site without visitors.
    async fn visitors(
        &self,
        start: DateTime<Utc>,
        sites: &[i32],
    ) -> Result<(Vec<Option<Vec<u8>>>, Vec<Option<i64>>), StoreError> {
        let number = "select site, numbers, names from analytics.number_visitors($1, $2, false)";
        let numbered = self.client.query(number, &[&start, &sites]).await?;
        let of_site = |row: &Row| {
            let numbers: Vec<i32> = row.get(1);
            (row.get::<_, i32>(0), (numbers.into_iter().collect::<VisitorSet>().to_bytes(), row.get(2)))
        };
        let mut of_sites: HashMap<i32, (Vec<u8>, i64)> = numbered.iter().map(of_site).collect();
        Ok(sites.iter().map(|site| of_sites.remove(site).unzip()).unzip())
    }

    /// Unites the sets of the settled hours of each day that is over, at most so many days. Returns how many.
    pub async fn unite_days(&self, limit: u32) -> Result<usize, StoreError> {
        let find = "select d.site, d.day from analytics.day_visitors as d \
                    where d.visitors is null and d.day < date_bin(interval '24 hours', now(), timestamptz 'epoch') \
                    and not exists (select from analytics.hour_counts as c \
                        where c.hour >= d.day and c.hour < d.day + interval '24 hours' and c.site = d.site) \
                    and not exists (select from analytics.settled_hours as z where z.site = d.site \
                        and z.hour >= d.day and z.hour < d.day + interval '24 hours' and z.visitors is null) \
                    and d.site not in (select id from analytics.sites where deleted_at is not null) \
                    order by d.day, d.site limit $1";
        let days = self.store.maintain(self.client.query(find, &[&i64::from(limit)])).await?;
        let mut united = Ok(days.len());
        for day in &days {
            let (site, day): (i32, DateTime<Utc>) = (day.get(0), day.get(1));
            // One whose sets cannot be read keeps none of the rest from being united.
            if let Err(error) = self.store.bounded_maintenance(self.unite_day(site, day)).await {
                united = Err(error);
            }
        }
        united
    }

    async fn unite_day(&self, site: i32, day: DateTime<Utc>) -> Result<(), StoreError> {
        // One statement, so that the sets are those after so many changes.
        let read = "select d.changes, z.visitors from analytics.day_visitors as d \
                    left join analytics.settled_hours as z on z.site = d.site and z.hour >= d.day and z.hour < d.day + interval '24 hours' \
                    where d.site = $1 and d.day = $2";
        let rows = self.client.query(read, &[&site, &day]).await?;
        let Some(changes) = rows.first().map(|row| row.get::<_, i64>(0)) else { return Ok(()) };
        let mut united = VisitorSet::default();
        for visitors in rows.iter().filter_map(|row| row.get::<_, Option<&[u8]>>(1)) {
            united.unite(&VisitorSet::from_bytes(visitors)?);
        }
        let unite = "select analytics.unite_day($1, $2, $3, $4)";
        self.client.execute(unite, &[&site, &day, &changes, &united.to_bytes()]).await?;
        Ok(())
    }

    /// Makes room for the events of tomorrow, so that none of them has to wait for it at midnight.
    pub async fn make_room_ahead(&self) -> Result<(), StoreError> {
        let make_room = "select analytics.make_room(array[now(), now() + interval '1 day'])";
        self.store.call(self.client.execute(make_room, &[])).await.map(drop)
    }

    /// Deletes the rows of writers that have not written for a day.
    pub async fn forget_idle_writers(&self) -> Result<(), StoreError> {
        self.store.call(self.client.execute("select analytics.forget_idle_writers()", &[])).await.map(drop)
    }

    /// Deletes what is stored of deleted sites of one day. Returns whether there is more to do.
    pub async fn forget_deleted_sites(&self) -> Result<bool, StoreError> {
        let forget = self.client.query_one("select analytics.forget_deleted_sites()", &[]);
        Ok(self.store.maintain(forget).await?.get(0))
    }

    /// Whether this is still the settler: its lock goes with its connection.
    pub fn is_connected(&self) -> bool {
        !self.client.is_closed()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
