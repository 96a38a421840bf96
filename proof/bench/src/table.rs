//! The textbook's table, filled with the same events as the daemon's schema; and the daemon's own, for COPY without
//! the daemon.

use chrono::{DateTime, TimeDelta, Utc};
use db::Flavour;
use model::{Hour, HourCounts};
use tokio_postgres::Client;

use crate::fill::{CLICK_EVERY, FilledHour};

const TABLE: &str = "create schema textbook; \
     create table textbook.events (at timestamptz not null, user_name text not null, kind text not null)";

const INDEX: &str = "create index on textbook.events (at)";

/// The hypertable brings its own index on time.
const HYPERTABLE: &str = "select create_hypertable('textbook.events', by_range('at'))";
/// Real-time, since a count that lags behind would not answer the same question.
const AGGREGATE: &str = "create materialized view textbook.hourly \
     with (timescaledb.continuous, timescaledb.materialized_only = false) as \
     select time_bucket(interval '1 hour', at) as hour, count(distinct user_name) as unique_users, \
     count(*) filter (where kind = 'click') as clicks, count(*) filter (where kind = 'impression') as impressions \
     from textbook.events group by 1 with no data";

/// Event number n of an hour, as in [`crate::fill::FilledHour::event`].
const FILL: &str = "insert into textbook.events (at, user_name, kind) \
     select $1::timestamptz + n * 3600000 / $2::bigint * interval '1 millisecond', 'user' || n % $3::bigint, \
     case when n % $4::bigint = 0 then 'click' else 'impression' end from generate_series(0, $2::bigint - 1) as n";

const REFRESH: &str = "call refresh_continuous_aggregate('textbook.hourly', $1::timestamptz, $2::timestamptz)";

/// Makes the table, and the aggregate if the database has TimescaleDB.
pub(crate) async fn make(client: &Client, flavour: Flavour) -> anyhow::Result<()> {
    client.batch_execute(TABLE).await?;
    match flavour {
        Flavour::Timescale => {
            client.batch_execute(HYPERTABLE).await?;
            client.batch_execute(AGGREGATE).await?;
        }
        Flavour::Postgres => client.batch_execute(INDEX).await?,
    }
    Ok(())
}

/// Stores the same events as [`crate::fill::fill`].
pub(crate) async fn fill(client: &Client, hours: &[FilledHour]) -> anyhow::Result<()> {
    for FilledHour { hour, events, users } in hours {
        let from: DateTime<Utc> = hour.start().to_utc();
        client.execute(FILL, &[&from, &i64::from(*events), &i64::from(*users), &i64::from(CLICK_EVERY)]).await?;
    }
    Ok(())
}

/// Materializes hours in the aggregate, if there is one, like settled hours of the daemon.
pub(crate) async fn materialize(
    client: &Client,
    flavour: Flavour,
    first: DateTime<Utc>,
    end: DateTime<Utc>,
) -> anyhow::Result<()> {
    if flavour == Flavour::Timescale {
        client.execute(REFRESH, &[&first, &end]).await?;
    }
    Ok(())
}

/// The columns of [`crate::rows::Rows::copy_text`], into the daemon's own table.
pub(crate) const COPY_EVENTS: &str = "copy analytics.events (at, kind, user_name) from stdin";

const MAKE_ROOM: &str = "select analytics.make_room(array[$1::timestamptz])";

const COUNT_RAW: &str = "select count(distinct user_name), count(*) filter (where kind = 'click'), \
     count(*) filter (where kind = 'impression') from analytics.events where at >= $1 and at < $2";

/// Makes the partition of an hour, if the flavour has partitions, to store raw events without the daemon.
pub(crate) async fn make_room(client: &Client, hour: Hour) -> anyhow::Result<()> {
    client.execute(MAKE_ROOM, &[&hour.start().to_utc()]).await?;
    Ok(())
}

/// Counts the daemon's raw events.
pub(crate) async fn raw_counts(client: &Client, hour: Hour) -> anyhow::Result<HourCounts> {
    let from = hour.start().to_utc();
    let row = client.query_one(COUNT_RAW, &[&from, &(from + TimeDelta::hours(1))]).await?;
    let number = |column| u64::try_from(row.get::<_, i64>(column));
    Ok(HourCounts { unique_users: number(0)?, clicks: number(1)?, impressions: number(2)? })
}
