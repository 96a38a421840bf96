use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use model::{Hour, HourCounts};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_postgres::{Client, Config, NoTls, Row};

use crate::{DatabaseUrlError, StoreError, error::read_database_url, session::Session};

/// Limits of a [`Store`]. All are bounds, none is a delay.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The name that the connections carry in `pg_stat_activity`.
    pub application_name: String,
    /// The most connections for anything but reading counts. As many again may be open because a call was given up that the server goes on with; those
    /// of the settler, of deleting old events and of reopening in three lanes come on top, five at most.
    pub max_connections: usize,
    /// Whether raw events are worked on, so that sessions are refused in which TimescaleDB would not find all of them.
    pub works_on_raw_events: bool,
    /// The most connections for reading counts, which go on when all others wait for commits.
    pub max_read_connections: usize,
    /// The longest that opening a connection, or waiting for a free one, may take.
    pub connect_timeout: Duration,
    /// The longest that a read of counts may take, a second try on a new connection included.
    pub read_timeout: Duration,
    /// The longest that any other statement, such as the storing of a batch, may take.
    pub statement_timeout: Duration,
    /// The longest that a refresh of the aggregate, or the rebuilding of an hour, may take.
    pub maintenance_timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            application_name: "analyticsd".to_owned(),
            max_connections: 8,
            works_on_raw_events: true,
            max_read_connections: 2,
            connect_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_millis(2_500),
            statement_timeout: Duration::from_secs(10),
            maintenance_timeout: Duration::from_mins(10),
        }
    }
}

/// How much of a pool of connections is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// The most connections.
    pub max: usize,
    /// Connections that somebody works on.
    pub in_use: usize,
    /// Open connections that nobody works on.
    pub idle: usize,
    /// Those who wait for a connection.
    pub waiting: usize,
    /// Connections on which the server goes on with calls that nobody waits for any more.
    pub given_up: usize,
}

/// For a session that counts distinct users over raw events, which before TimescaleDB 2.29.2 could be wrong in partly compressed chunks by
/// way of this feature.
pub(crate) const COUNT_SOUNDLY: &str = "select set_config('timescaledb.enable_skipscan', 'off', false)";

/// For a session that works on raw events. Without its library, and while a backup is restored, TimescaleDB takes no part in what a session does: events
/// would go where it does not look for them afterwards, and those in chunks would not all be found. Which it is stays so for as long as the session lives.
const REFUSE_TO_MISS_CHUNKS: &str = "do $$ begin \
    if exists ( \
        select from pg_catalog.pg_class \
        where relname = 'foreign_chunks' and relnamespace = pg_catalog.to_regnamespace('analytics') \
    ) and current_setting('timescaledb.restoring', true) is distinct from 'off' then \
        if current_setting('timescaledb.restoring', true) is null then \
            raise exception 'extension \"timescaledb\" must be preloaded' using errcode = '55000'; \
        end if; \
        raise exception 'a backup is being restored into this database' using errcode = '55000', \
            hint = 'It is done with `select timescaledb_post_restore()`.'; \
    end if; \
end $$";

/// The connections to one database. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    options: StoreOptions,
    pool: Pool,
    reads: Pool,
    /// For connections of the pool that are used, or were given up and are still open.
    places: Arc<Semaphore>,
    sound_since: Arc<SoundSince>,
}

/// From when on sessions can be trusted. One that was opened before is not used again.
#[derive(Default)]
struct SoundSince(Mutex<Option<std::time::Instant>>);

impl SoundSince {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::time::Instant::now());
    }

    fn has(&self, opened: std::time::Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|since| opened >= since)
    }
}

impl Store {
    /// Prepares to connect; nothing is opened yet.
    pub fn new(database_url: &str, options: StoreOptions) -> Result<Self, DatabaseUrlError> {
        let mut config = read_database_url(database_url)?;
        config
            .application_name(&options.application_name)
            .connect_timeout(options.connect_timeout)
            // A peer that vanished without a word is noticed even while nothing is under way.
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(options.statement_timeout * 2);

        let sound_since = Arc::<SoundSince>::default();
        let check = if options.works_on_raw_events { REFUSE_TO_MISS_CHUNKS } else { "" };
        let pool = pool_of(&config, &options, options.max_connections, check, &sound_since);
        // Counts are not read from raw events.
        let reads = pool_of(&config, &options, options.max_read_connections, "", &sound_since);
        let places = Arc::new(Semaphore::new(2 * options.max_connections));
        Ok(Self { inner: Arc::new(Inner { config, options, pool, reads, places, sound_since }) })
    }

    /// The exact counts of the given hours, in the order given. Whatever was committed before the call is counted.
    pub async fn counts(&self, hours: &[Hour]) -> Result<Vec<HourCounts>, StoreError> {
        let starts: Vec<DateTime<Utc>> = hours.iter().map(|hour| hour.start().to_utc()).collect();
        let began = std::time::Instant::now();
        let deadline = Instant::from(began) + self.inner.options.read_timeout;
        let rows = match self.read_counts(&starts, deadline).await {
            // A connection that lay idle while the server restarted breaks at its next use, and a session may have become useless meanwhile. The second
            // try gets a new one: the others that lay idle are as bad.
            Err(error) if error.is_of_session() => {
                self.inner.reads.retain(|_, metrics| metrics.created >= began);
                self.read_counts(&starts, deadline).await?
            }
            rows => rows?,
        };
        if rows.len() != hours.len() {
            // Going on would give hours one another's numbers.
            return Err(StoreError::Inconsistent("an hour is open and settled at the same time"));
        }
        Ok(rows.iter().map(|row| counts_in(row, 0)).collect())
    }

    async fn read_counts(&self, starts: &[DateTime<Utc>], deadline: Instant) -> Result<Vec<Row>, StoreError> {
        let limit = self.inner.options.read_timeout;
        let timed_out = |_| StoreError::TimedOut(limit);
        let client = timeout_at(deadline, take_from(&self.inner.reads)).await.map_err(timed_out)??;
        let call = async {
            let statement =
                client.prepare_cached("select unique_users, clicks, impressions from analytics.counts($1)").await?;
            Ok(client.query(&statement, &[&starts]).await?)
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
        self.bounded(async { Ok(connect(&self.inner.config).await?.batch_execute("select 1").await?) }).await
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
            self.inner.sound_since.now();
        }
    }

    /// Does something on a connection of the pool, within the time that a statement may take.
    pub(crate) async fn on_client<T>(
        &self,
        call: impl AsyncFnOnce(&mut Object) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut session = self.session().await?;
        let limit = self.statement_limit();
        match timeout(limit, call(&mut session)).await {
            Ok(Ok(value)) => {
                session.go_back();
                Ok(value)
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
        match self.on_client(call.clone()).await {
            Err(StoreError::Unreachable(_) | StoreError::Refused(_) | StoreError::Forbidden(_)) => {
                self.inner.pool.retain(|_, metrics| metrics.created >= began);
                self.on_client(call).await
            }
            read => read,
        }
    }

    /// A connection of its own, for work that takes longer than a statement of the pool may.
    pub(crate) async fn maintenance_client(&self) -> Result<Client, StoreError> {
        self.bounded(async {
            let client = connect(&self.inner.config).await?;
            prepare_session(&client, self.inner.options.maintenance_timeout).await?;
            client.batch_execute(REFUSE_TO_MISS_CHUNKS).await?;
            // A wrong count would be noticed, but noticing does not settle the hour.
            client.batch_execute(COUNT_SOUNDLY).await?;
            Ok(client)
        })
        .await
    }

    /// A connection of its own that nothing was said on yet, for looking at the server as it is. A server that lets nobody in is told from one
    /// that refuses a statement.
    pub(crate) async fn plain_client(&self) -> Result<Client, StoreError> {
        connect(&self.inner.config).await.map_err(|error| match StoreError::from(error) {
            StoreError::Refused(error) | StoreError::Forbidden(error) => StoreError::NotAdmitted(error),
            other => other,
        })
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
}

/// A connection of a pool. One that takes long to open goes to the pool when it is there, also if whoever asked has given up meanwhile: else nobody on a
/// slow way to the database would ever have one.
async fn take_from(pool: &Pool) -> Result<Object, StoreError> {
    if pool.status().available > 0 {
        return Ok(pool.get().await?);
    }
    let pool = pool.clone();
    let opening = tokio::spawn(async move { pool.get().await });
    Ok(opening.await.expect("nobody aborts it, and opening does not panic")?)
}

/// A pool of connections whose sessions are all prepared alike, and by some statements more.
fn pool_of(
    config: &Config,
    options: &StoreOptions,
    max: usize,
    more_to_prepare: &'static str,
    sound_since: &Arc<SoundSince>,
) -> Pool {
    let manager =
        Manager::from_config(config.clone(), NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let statement_timeout = options.statement_timeout;
    let sound_since = Arc::clone(sound_since);
    Pool::builder(manager)
        .max_size(max)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(options.connect_timeout))
        // A password takes four ways there and back more than the connection itself, which has the limit of its own.
        .create_timeout(Some(options.connect_timeout * 3))
        .recycle_timeout(Some(options.connect_timeout))
        .post_create(Hook::async_fn(move |client, _| {
            Box::pin(async move {
                prepare_session(client, statement_timeout).await.map_err(HookError::Backend)?;
                // The planner would otherwise plan each call anew, because it takes an array of known length to be worth it;
                // planning takes as long as storing a batch of 30 events.
                let prepare = format!("set plan_cache_mode = force_generic_plan; {more_to_prepare}");
                client.batch_execute(&prepare).await.map_err(HookError::Backend)
            })
        }))
        .pre_recycle(Hook::sync_fn(move |_, metrics| {
            if sound_since.has(metrics.created) {
                Ok(())
            } else {
                Err(HookError::message("it is not trusted any more"))
            }
        }))
        .build()
        .expect("a pool with timeouts has a runtime")
}

/// Opens one connection and lets it be driven in the background until its client is dropped.
pub(crate) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // The client sees the same error in its next call, where it is handled.
        let _ = connection.await;
    });
    Ok(client)
}

/// Durable commits, whatever the server's default is; a new snapshot for each statement, which the functions of the schema count
/// on; a limit that the server keeps even if this process is gone; and an end to sessions whose machine is gone without a word, so that
/// the next settler does not wait hours for the last one's lock.
async fn prepare_session(client: &Client, statement_timeout: Duration) -> Result<(), tokio_postgres::Error> {
    client
        .batch_execute(&format!(
            "select set_config('synchronous_commit', 'on', false) \
             where current_setting('synchronous_commit') in ('off', 'local'); \
             set default_transaction_isolation = 'read committed'; \
             set statement_timeout = {}; \
             set idle_in_transaction_session_timeout = '1min'; \
             set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3",
            statement_timeout.as_millis()
        ))
        .await
}

pub(crate) fn hour_in(row: &Row, column: usize) -> Hour {
    Hour::starting_at(row.get(column)).expect("the schema stores nothing but whole hours of the accepted range")
}

/// Reads unique users, clicks and impressions from three columns.
pub(crate) fn counts_in(row: &Row, first: usize) -> HourCounts {
    let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
    HourCounts { unique_users: number(first), clicks: number(first + 1), impressions: number(first + 2) }
}
