//! A server as in a textbook: an insert for each event, a query for each GET, a pool of connections.
//!
//! This crate is the only one besides `db` that has SQL: here and in `table` it is what `db` is compared with, and in
//! `database` it reads the server's version and settings.

use chrono::{DateTime, TimeDelta, Utc};
use db::{Flavour, Store, StoreError, StoreOptions};
use deadpool::managed::{Manager, Metrics, Pool, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use model::{Event, Hour, HourCounts};

use crate::http::{self, Answers};

const INSERT: &str = "insert into textbook.events (at, user_name, kind) values ($1, $2, $3)";

/// Without an aggregate.
const COUNT_EVENTS: &str = "select count(distinct user_name), count(*) filter (where kind = 'click'), \
     count(*) filter (where kind = 'impression') from textbook.events where at >= $1 and at < $2";
/// With the continuous aggregate. An hour without events has no row.
const READ_AGGREGATE: &str = "select coalesce(sum(unique_users), 0)::bigint, coalesce(sum(clicks), 0)::bigint, \
     coalesce(sum(impressions), 0)::bigint from textbook.hourly where hour >= $1 and hour < $2";

#[derive(Clone)]
struct Textbook {
    pool: Pool<Opener>,
    count: &'static str,
}

/// Opens the connections of the pool, by whatever way the URL names.
struct Opener(Store);

impl Manager for Opener {
    type Type = ClientWrapper;
    type Error = StoreError;

    async fn create(&self) -> Result<ClientWrapper, StoreError> {
        let (client, driver) = self.0.plain_client().await?.into_parts();
        Ok(ClientWrapper::new(client, driver))
    }

    async fn recycle(&self, client: &mut ClientWrapper, _: &Metrics) -> RecycleResult<StoreError> {
        if client.is_closed() { Err(RecycleError::message("it is closed")) } else { Ok(()) }
    }
}

impl Answers for Textbook {
    async fn store(&self, event: Event) -> anyhow::Result<()> {
        let client = self.pool.get().await?;
        let insert = client.prepare_cached(INSERT).await?;
        client.execute(&insert, &[&event.at.to_utc(), &event.user.as_str(), &event.kind.as_str()]).await?;
        Ok(())
    }

    async fn counts(&self, hour: Hour) -> anyhow::Result<HourCounts> {
        let client = self.pool.get().await?;
        let count = client.prepare_cached(self.count).await?;
        let from: DateTime<Utc> = hour.start().to_utc();
        let row = client.query_one(&count, &[&from, &(from + TimeDelta::hours(1))]).await?;
        let number = |column| u64::try_from(row.get::<_, i64>(column));
        Ok(HourCounts { unique_users: number(0)?, clicks: number(1)?, impressions: number(2)? })
    }
}

pub(crate) async fn serve(database_url: &str, flavour: Flavour, connections: usize) -> anyhow::Result<()> {
    let store =
        Store::new(database_url, StoreOptions { application_name: "textbook".to_owned(), ..Default::default() })?;
    let pool = Pool::builder(Opener(store)).max_size(connections).build()?;
    let count = match flavour {
        Flavour::Timescale => READ_AGGREGATE,
        Flavour::Postgres => COUNT_EVENTS,
    };
    http::serve(Textbook { pool, count }).await
}
