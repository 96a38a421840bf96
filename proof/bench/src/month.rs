//! A settled month, whose visitors are drawn evenly from a hundred times as many as an hour has. It is put into the
//! database without its events, which would take hours, but for those of one day, for the textbook.

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use db::{Settler, Store};
use roaring::RoaringBitmap;
use tokio_postgres::Client;

use crate::fill::past_hour;

pub(crate) const DAYS: u32 = 30;
pub(crate) const HOURS: u32 = DAYS * 24;

/// As [`Month::name`].
const DICTIONARY: &str = "insert into analytics.visitors (number, name) \
     select n, 'user' || n * 7919::bigint % $1::bigint from generate_series(0, $1::bigint - 1) as n";
const NAME_INDEX: &str = "select pg_get_indexdef('analytics.visitors_name'::regclass)";

const SETTLED_HOUR: &str = "insert into analytics.settled_hours (hour, settled_at, unique_users, clicks, impressions, visitors) \
     values ($1, now(), $2, $2, 0, $3)";
const SETTLED_DAYS: &str = "insert into analytics.day_visitors (day) \
     select distinct date_bin(interval '24 hours', hour, timestamptz 'epoch') from analytics.settled_hours";

const RAW_EVENTS: &str = "insert into textbook.events (at, user_name, kind) \
     select $1::timestamptz + i % 3600 * interval '1 second', 'user' || n * 7919 % $3::bigint, 'click' \
     from unnest($2::bigint[]) with ordinality as v (n, i)";

/// With the registers that Redis has too, for an error of about 0.8 %.
const SKETCH: &str = "insert into textbook.sketches (hour, sketch) \
     select $1::timestamptz, hll_add_agg(hll_hash_bigint(n), 14) from unnest($2::bigint[]) as n";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Month {
    /// Drawn for an hour. A few are drawn twice.
    pub(crate) visitors: u32,
}

/// The unique users that a brute-force count of the draws finds.
#[derive(Debug, Default)]
pub(crate) struct Drawn {
    pub(crate) day: u64,
    pub(crate) month: u64,
    /// With the open hour behind it.
    pub(crate) month_and_open_hour: u64,
    /// Of its hours added up, as those do who keep only counts.
    pub(crate) sum_of_hours: u64,
}

impl Month {
    pub(crate) fn population(self) -> u32 {
        100 * self.visitors
    }

    /// Who has a number. Names are no neighbours where numbers are, and each has another: 7919 is a prime.
    pub(crate) fn name(self, number: u32) -> String {
        format!("user{}", u64::from(number) * 7919 % u64::from(self.population()))
    }

    /// The numbers of the visitors of the hour that begins this many hours after 2020 began.
    pub(crate) fn draw(self, hour: u32) -> RoaringBitmap {
        (0..self.visitors).map(|n| mixed(u64::from(hour) << 32 | u64::from(n)) % self.population()).collect()
    }

    /// Names every visitor.
    pub(crate) async fn fill_dictionary(self, client: &Client) -> anyhow::Result<()> {
        let index: String = client.query_one(NAME_INDEX, &[]).await?.get(0);
        client.batch_execute("drop index analytics.visitors_name").await?;
        client.execute(DICTIONARY, &[&i64::from(self.population())]).await?;
        client.batch_execute(&index).await?;
        Ok(())
    }

    /// Stores the sets of visitors, the raw events of the first day, and sketches if they are asked for.
    pub(crate) async fn fill_hours(self, client: &Client, with_sketches: bool) -> anyhow::Result<Drawn> {
        let mut drawn = Drawn::default();
        let mut united = RoaringBitmap::new();
        for number in 0..HOURS {
            let start = past_hour(number).start().to_utc();
            let visitors = self.draw(number);
            let users = i64::try_from(visitors.len())?;
            client.execute(SETTLED_HOUR, &[&start, &users, &bytes_of(&visitors)?]).await?;
            let numbers: Vec<i64> = visitors.iter().map(i64::from).collect();
            if number < 24 {
                client.execute(RAW_EVENTS, &[&start, &numbers, &i64::from(self.population())]).await?;
            }
            if with_sketches {
                client.execute(SKETCH, &[&start, &numbers]).await?;
            }
            drawn.sum_of_hours += visitors.len();
            united |= visitors;
            if number == 23 {
                drawn.day = united.len();
            }
        }
        client.execute(SETTLED_DAYS, &[]).await?;
        drawn.month = united.len();
        united |= self.draw(HOURS);
        drawn.month_and_open_hour = united.len();
        Ok(drawn)
    }
}

/// While no daemon runs, which would do it itself.
pub(crate) async fn unite_days(store: &Store) -> anyhow::Result<()> {
    let settler = Settler::elect(store).await?.context("another process settles the hours of this database")?;
    let united = settler.unite_days(DAYS).await?;
    ensure!(united == DAYS as usize, "{united} days are united instead of {DAYS}");
    Ok(())
}

/// When the first of so many hours begins, and when the one behind the last does.
pub(crate) fn bounds(hours: u32) -> (DateTime<Utc>, DateTime<Utc>) {
    let first = past_hour(0).start().to_utc();
    (first, first + TimeDelta::hours(hours.into()))
}

/// In the portable format without runs.
pub(crate) fn bytes_of(visitors: &RoaringBitmap) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(visitors.serialized_size());
    visitors.serialize_into(&mut bytes)?;
    Ok(bytes)
}

/// Splitmix64, whose upper half is as good as drawn.
fn mixed(seed: u64) -> u32 {
    let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap_or_default()
}
