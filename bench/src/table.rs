//! The textbook's table, filled with the same events as the daemon's schema.

use chrono::{DateTime, TimeDelta, Utc};
use db::Flavour;
use tokio_postgres::Client;

use crate::fill::{CLICK_EVERY, Hours, USERS};

const TABLE: &str = "create schema textbook; \
     create table textbook.events (at timestamptz not null, user_name text not null, kind text not null)";

const INDEX: &str = "create index on textbook.events (at)";

/// The hypertable brings its own index on time.
const HYPERTABLE: &str = "select create_hypertable('textbook.events', by_range('at'))";
/// Real-time, since a count that lags behind what was stored would not answer the same question.
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

/// Makes the table, and the aggregate where the database has those, and fills them. What is settled in the daemon's schema is
/// materialized in the aggregate.
pub(crate) async fn make(client: &Client, flavour: Flavour, hours: &Hours) -> anyhow::Result<()> {
    client.batch_execute(TABLE).await?;
    match flavour {
        Flavour::Timescale => {
            client.batch_execute(HYPERTABLE).await?;
            client.batch_execute(AGGREGATE).await?;
        }
        Flavour::Postgres => client.batch_execute(INDEX).await?,
    }
    for filled in hours.all() {
        let from: DateTime<Utc> = filled.hour.start().to_utc();
        client.execute(FILL, &[&from, &i64::from(filled.events), &i64::from(USERS), &i64::from(CLICK_EVERY)]).await?;
    }
    if flavour == Flavour::Timescale {
        let from: DateTime<Utc> = hours.settled.hour.start().to_utc();
        client.execute(REFRESH, &[&from, &(from + TimeDelta::hours(1))]).await?;
    }
    Ok(())
}
