use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use model::{EventKind, Hour, HourCounts, ShardCount, SiteHour, SiteId, UserName};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_postgres::{Config, Row, types::ToSql};

use crate::{
    DatabaseUrlError, Loss, StoreError,
    columns::SiteColumn,
    connection::{
        COUNT_SOUNDLY, Connected, Connector, Object, Pool, PoolUse, REFUSE_TO_MISS_CHUNKS, Session, StoreOptions,
        database_name, pool_of, prepare_session, take_from,
    },
    identity::{self, Expected, FoundAt},
};

/// The writer whose counter row holds what was rebuilt from raw events. No lane ever has it: their numbers begin at 1.
const REBUILT: i64 = 0;

/// The connections to one database. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Arc<Connector>,
    options: StoreOptions,
    url: String,
    pool: Pool,
    reads: Pool,
    /// For connections of the pool that are used, or were given up and are still open.
    places: Arc<Semaphore>,
}

fn settings_of(options: &StoreOptions, config: &mut Config) {
    config
        .application_name(&options.application_name)
        // A peer that vanished without a word is noticed even while nothing is under way.
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(options.statement_timeout * 2);
}

impl Store {
    /// Prepares to connect to a database as it is, whichever shard of a counter; nothing is opened yet.
    pub fn new(database_url: &str, options: StoreOptions) -> Result<Self, DatabaseUrlError> {
        Self::expecting(database_url, options, None)
    }

    /// The same for a database that must say that it is this shard.
    pub(crate) fn of_shard(
        database_url: &str,
        options: StoreOptions,
        expected: Expected,
    ) -> Result<Self, DatabaseUrlError> {
        Self::expecting(database_url, options, Some(expected))
    }

    fn expecting(url: &str, options: StoreOptions, expected: Option<Expected>) -> Result<Self, DatabaseUrlError> {
        let settings = |config: &mut Config| settings_of(&options, config);
        let connector = Connector::new(url, options.connect_timeout, expected, settings)?;
        Ok(Self::on(connector, options, url.to_owned()))
    }

    /// Other connections to the same database. What one of both learns of its hosts, as that another server has taken over, the other knows too.
    #[must_use]
    pub fn with_options(&self, options: StoreOptions) -> Self {
        let settings = |config: &mut Config| settings_of(&options, config);
        let connector = self.inner.connector.for_other_uses(options.connect_timeout, settings);
        Self::on(connector, options, self.inner.url.clone())
    }

    /// Other connections to the same database, whatever it says of itself.
    #[must_use]
    pub fn without_identity(&self) -> Self {
        Self::on(self.inner.connector.without_identity(), self.inner.options.clone(), self.inner.url.clone())
    }

    /// The name of the database and where it is, as in `analytics at db.example:5432`.
    pub fn name(&self) -> String {
        database_name(&self.inner.url)
    }

    /// What the database says of itself.
    pub(crate) async fn identity(&self) -> Result<FoundAt, StoreError> {
        let client = self.inner.connector.without_identity();
        let client = Arc::new(client).connect().await?;
        let found = self.call(identity::ask(&client)).await?;
        Ok(FoundAt { found, server: client.server().to_owned() })
    }

    /// Makes the database this shard of a counter, of a new one if none is given, unless it has an identity already. Returns the counter that it is of.
    pub(crate) async fn assign_identity(
        &self,
        counter: Option<&str>,
        shard: usize,
        shards: ShardCount,
    ) -> Result<String, StoreError> {
        let client = self.without_identity().maintenance_client().await?;
        self.bounded(identity::assign(&client, counter, shard, shards)).await
    }

    pub(crate) async fn note_founded(&self) -> Result<(), StoreError> {
        let client = self.without_identity().maintenance_client().await?;
        self.bounded(identity::found(&client)).await
    }

    /// With its password.
    pub(crate) fn url(&self) -> &str {
        &self.inner.url
    }

    fn on(connector: Connector, options: StoreOptions, url: String) -> Self {
        let connector = Arc::new(connector);
        let check = if options.works_on_raw_events { REFUSE_TO_MISS_CHUNKS } else { "" };
        let pool = pool_of(&connector, &options, options.max_connections, check);
        // Counts are not read from raw events.
        let reads = pool_of(&connector, &options, options.max_read_connections, "");
        let places = Arc::new(Semaphore::new(2 * options.max_connections));
        Self { inner: Arc::new(Inner { connector, options, url, pool, reads, places }) }
    }

    /// The exact counts of the given hours, in the order given. Whatever was committed before the call is counted.
    pub async fn counts(&self, hours: &[SiteHour]) -> Result<Vec<HourCounts>, StoreError> {
        let starts: Vec<DateTime<Utc>> = hours.iter().map(|it| it.hour.start().to_utc()).collect();
        let sites: SiteColumn = hours.iter().map(|it| it.site).collect();
        let began = std::time::Instant::now();
        let deadline = Instant::from(began) + self.inner.options.read_timeout;
        let rows = match self.read_counts(&starts, &sites, deadline).await {
            // A connection that lay idle while the server restarted breaks at its next use, and a session may have become useless meanwhile. The second
            // try gets a new one: the others that lay idle are as bad.
            Err(error) if error.is_of_session() => {
                self.inner.reads.retain(|_, metrics| metrics.created >= began);
                self.read_counts(&starts, &sites, deadline).await?
            }
            rows => rows?,
        };
        if rows.len() != hours.len() {
            // Going on would give hours one another's numbers.
            return Err(StoreError::Inconsistent("an hour is open and settled at the same time"));
        }
        Ok(rows.iter().map(|row| counts_in(row, 0)).collect())
    }

    async fn read_counts(
        &self,
        starts: &[DateTime<Utc>],
        sites: &SiteColumn,
        deadline: Instant,
    ) -> Result<Vec<Row>, StoreError> {
        let limit = self.inner.options.read_timeout;
        let timed_out = |_| StoreError::TimedOut(limit);
        let client = timeout_at(deadline, take_from(&self.inner.reads)).await.map_err(timed_out)??;
        let call = async {
            let statement =
                client.prepare_cached("select unique_users, clicks, impressions from analytics.counts($1, $2)").await?;
            let rows = client.query(&statement, &[&starts, sites.as_sent()]).await?;
            client.still_current()?;
            Ok(rows)
        };
        let read = timeout_at(deadline, call).await.unwrap_or(Err(StoreError::TimedOut(limit)));
        if let Err(error) = &read
            && error.is_of_session()
        {
            // Also where it was given up: a read holds nothing up, and the server ends it by itself.
            drop(Object::take(client));
            self.distrust(error);
        }
        read
    }

    /// What the names of visitors without a script are derived with.
    pub async fn visitor_salt(&self) -> Result<String, StoreError> {
        Ok(self.read_row("select visitor_salt from analytics.settings", &[]).await?.get(0))
    }

    /// Makes settled hours of these sites open again, for a late event in each: users and counters are rebuilt from the hour's raw events, which
    /// are read once for all of them; that takes about two seconds for a million. Returns those that stay settled and take no events, because raw events of them are missing, so that their
    /// counts would have fallen. The others take events, or the next ingest says why they do not.
    pub async fn reopen(&self, hour: Hour, sites: &[SiteId]) -> Result<Vec<SiteId>, StoreError> {
        let client = self.maintenance_client().await?;
        let start = hour.start().to_utc();
        let sites: Vec<i32> = sites.iter().map(|site| site.number()).collect();
        self.bounded_maintenance(async {
            client.execute("select analytics.reopen($1, $2, $3)", &[&start, &sites, &REBUILT]).await?;
            let missing = "select site from analytics.settled_hours \
                           where site = any ($2) and hour = $1 and events_missing_since is not null";
            let missing = client.query(missing, &[&start, &sites]).await?;
            Ok(missing.iter().map(|row| site_in(row, 0)).collect())
        })
        .await
    }

    /// Writes a loss down, for `doctor` to find.
    pub async fn note_loss(&self, loss: Loss) -> Result<(), StoreError> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let note = "select analytics.note_loss($1, $2, $3)";
        self.row(note, &[&loss.writer, &number(loss.batches), &number(loss.events)]).await.map(drop)
    }

    /// Every hour of every site with events, counted by brute force over the raw events. It takes as long as it takes to read them all:
    /// this is what the counters are checked against, not what answers a request.
    pub async fn brute_force_counts(&self) -> Result<Vec<(SiteHour, HourCounts)>, StoreError> {
        let client = self.maintenance_client().await?;
        let count = "select date_bin(interval '1 hour', at, timestamptz 'epoch') as hour, site, count(distinct user_name), \
                     count(*) filter (where kind = 'click'), count(*) filter (where kind = 'impression') \
                     from analytics.events group by 1, 2 order by 1, 2";
        let rows = self.maintain(client.query(count, &[])).await?;
        Ok(rows.iter().map(|row| (site_hour_in(row, 0), counts_in(row, 2))).collect())
    }

    /// Every raw event, as how many there are of each hour of each site, kind and user. It takes as long as it takes to read them all.
    pub async fn stored_events(&self) -> Result<Vec<(SiteHour, EventKind, UserName, u64)>, StoreError> {
        let client = self.maintenance_client().await?;
        let count = "select date_bin(interval '1 hour', at, timestamptz 'epoch') as hour, site, kind::text, user_name, count(*) \
                     from analytics.events group by 1, 2, 3, 4";
        let rows = self.maintain(client.query(count, &[])).await?;
        rows.iter()
            .map(|row| {
                let kind = EventKind::parse(row.get(2)).map_err(|_| StoreError::Inconsistent("an event of no kind"))?;
                let user = UserName::new(row.get::<_, String>(3))
                    .map_err(|_| StoreError::Inconsistent("an event of a user whose name is not accepted"))?;
                let count = u64::try_from(row.get::<_, i64>(4)).unwrap_or_default();
                Ok((site_hour_in(row, 0), kind, user, count))
            })
            .collect()
    }

    /// Opens the connections that counts are read through, so that the first who ask need not wait for them, which on a slow way to the database takes
    /// longer than a read may.
    pub async fn open_read_connections(&self) -> Result<(), StoreError> {
        let mut opening = JoinSet::new();
        for _ in 0..self.inner.options.max_read_connections {
            let pool = self.inner.reads.clone();
            opening.spawn(async move { pool.get().await });
        }
        // All are held until the last is there, so that each is another.
        let opened = self.bounded(async { Ok(opening.join_all().await) }).await?;
        for connection in opened {
            drop(connection?);
        }
        Ok(())
    }

    /// How much of the pool for everything but reading counts is used at this moment. Asks nobody, so it costs nothing.
    pub fn pool_use(&self) -> PoolUse {
        let places = 2 * self.inner.options.max_connections - self.inner.places.available_permits();
        let used = Self::use_of(&self.inner.pool);
        PoolUse { given_up: places.saturating_sub(used.in_use), ..used }
    }

    /// The same of the connections that counts are read through.
    pub fn read_pool_use(&self) -> PoolUse {
        Self::use_of(&self.inner.reads)
    }

    fn use_of(pool: &Pool) -> PoolUse {
        let status = pool.status();
        let idle = status.available.min(status.size);
        PoolUse { max: status.max_size, in_use: status.size - idle, idle, waiting: status.waiting, given_up: 0 }
    }

    /// Resolves once the database answers, however long that takes. Tries again with growing pauses, of a second at most.
    pub async fn answers(&self) {
        let mut pause = Duration::from_millis(20);
        while self.ping().await.is_err() {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Opens a connection and asks for nothing much.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let client = self.plain_client().await?;
        self.call(client.batch_execute("select 1")).await
    }

    /// A connection from the pool.
    pub(crate) async fn session(&self) -> Result<Session, StoreError> {
        // The pool bounds its waits, but not what is said on a new connection before its first use.
        let client = self.bounded(take_from(&self.inner.pool)).await?;
        match Arc::clone(&self.inner.places).try_acquire_owned() {
            Ok(place) => Ok(Session::new(client, place)),
            Err(_) => Err(StoreError::Stuck(self.inner.options.max_connections)),
        }
    }

    /// After an error that may come from a session's own state, no session is used again that was open at the time.
    pub(crate) fn distrust(&self, error: &StoreError) {
        if error.is_of_all_sessions() {
            self.inner.connector.distrust_open_connections();
        }
    }

    /// Does something on a connection of the pool, within the time that a statement may take.
    pub(crate) async fn on_client<T>(
        &self,
        call: impl AsyncFnOnce(&mut Object) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.on_session(self.session().await?, call).await
    }

    async fn on_session<T>(
        &self,
        mut session: Session,
        call: impl AsyncFnOnce(&mut Object) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let limit = self.statement_limit();
        match timeout(limit, call(&mut session)).await {
            Ok(Ok(value)) => {
                let skipped_standby = session.skipped_standby();
                let current = session.still_current();
                session.go_back();
                current?;
                if skipped_standby { Err(StoreError::NotReplicated) } else { Ok(value) }
            }
            Ok(Err(error)) => {
                session.go_back_after(&error);
                self.distrust(&error);
                Err(error)
            }
            Err(_) => Err(StoreError::TimedOut(limit)),
        }
    }

    /// Reads something on a connection of the pool. A session may have become useless since it was used last, and others with it, which says nothing
    /// about the database: what it was asked is asked once more, on a new one.
    pub(crate) async fn read<T>(
        &self,
        call: impl AsyncFnOnce(&mut Object) -> Result<T, StoreError> + Clone,
    ) -> Result<T, StoreError> {
        let began = std::time::Instant::now();
        // One that cannot be opened is not tried twice.
        let session = self.session().await?;
        match self.on_session(session, call.clone()).await {
            Err(StoreError::Unreachable(_) | StoreError::Refused(_) | StoreError::Forbidden(_)) => {
                self.inner.pool.retain(|_, metrics| metrics.created >= began);
                self.on_client(call).await
            }
            read => read,
        }
    }

    /// A connection of its own, for work that takes longer than a statement of the pool may.
    pub(crate) async fn maintenance_client(&self) -> Result<Connected, StoreError> {
        let client = self.plain_client().await?;
        self.bounded(async {
            prepare_session(&client, self.inner.options.maintenance_timeout).await?;
            client.batch_execute(REFUSE_TO_MISS_CHUNKS).await?;
            // A wrong count would be noticed, but noticing does not settle the hour.
            client.batch_execute(COUNT_SOUNDLY).await?;
            Ok(client)
        })
        .await
    }

    /// A connection of its own that nothing was said on yet, for looking at the server as it is. It is open as long as the client is.
    pub async fn plain_client(&self) -> Result<Connected, StoreError> {
        self.inner.connector.connect().await
    }

    /// A little more than the server's own limit, so that a server that is well says itself what was slow.
    pub(crate) fn statement_limit(&self) -> Duration {
        self.inner.options.statement_timeout + Duration::from_secs(1)
    }

    /// Gives up when a statement of the pool would have to.
    pub(crate) async fn bounded<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let limit = self.statement_limit();
        timeout(limit, call).await.unwrap_or(Err(StoreError::TimedOut(limit)))
    }

    /// The same for maintenance.
    pub(crate) async fn bounded_maintenance<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let limit = self.inner.options.maintenance_timeout + Duration::from_secs(1);
        timeout(limit, call).await.unwrap_or(Err(StoreError::TimedOut(limit)))
    }

    /// Rows that are read on a connection of the pool.
    pub(crate) async fn read_rows(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        self.read(async |client| Ok(client.query(statement, parameters).await?)).await
    }

    /// The one row that is read on a connection of the pool.
    pub(crate) async fn read_row(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, StoreError> {
        self.read(async |client| Ok(client.query_one(statement, parameters).await?)).await
    }

    /// The one row that a statement which changes something returns, on a connection of the pool.
    pub(crate) async fn row(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, StoreError> {
        self.on_client(async |client| Ok(client.query_one(statement, parameters).await?)).await
    }

    /// One statement on a connection of its own, within the time that a statement of the pool may take.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        self.bounded(async { Ok(call.await?) }).await
    }

    /// The same for maintenance.
    pub(crate) async fn maintain<T>(
        &self,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        self.bounded_maintenance(async { Ok(call.await?) }).await
    }
}

pub(crate) fn hour_in(row: &Row, column: usize) -> Hour {
    Hour::starting_at(row.get(column)).expect("the schema stores nothing but whole hours of the accepted range")
}

pub(crate) fn site_in(row: &Row, column: usize) -> SiteId {
    SiteId::new(row.get(column)).expect("the schema gives no site a negative number")
}

/// Reads an hour and, from the next column, its site.
pub(crate) fn site_hour_in(row: &Row, first: usize) -> SiteHour {
    SiteHour { hour: hour_in(row, first), site: site_in(row, first + 1) }
}

/// Reads unique users, clicks and impressions from three columns.
pub(crate) fn counts_in(row: &Row, first: usize) -> HourCounts {
    let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
    HourCounts { unique_users: number(first), clicks: number(first + 1), impressions: number(first + 2) }
}
