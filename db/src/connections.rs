//! Connections: what is said on each before its first use, and the pools that hold them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Client, Config, NoTls};

use crate::StoreError;

/// Limits of a [`Store`](crate::Store). All are bounds, none is a delay.
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
pub(crate) const REFUSE_TO_MISS_CHUNKS: &str = "do $$ begin \
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

/// From when on sessions can be trusted. One that was opened before is not used again.
#[derive(Default)]
pub(crate) struct SoundSince(Mutex<Option<std::time::Instant>>);

impl SoundSince {
    pub(crate) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::time::Instant::now());
    }

    fn has(&self, opened: std::time::Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|since| opened >= since)
    }
}

/// A connection of a pool. One that takes long to open goes to the pool when it is there, also if whoever asked has given up meanwhile: else nobody on a
/// slow way to the database would ever have one.
pub(crate) async fn take_from(pool: &Pool) -> Result<Object, StoreError> {
    if pool.status().available > 0 {
        return Ok(pool.get().await?);
    }
    let pool = pool.clone();
    let opening = tokio::spawn(async move { pool.get().await });
    Ok(opening.await.expect("nobody aborts it, and opening does not panic")?)
}

/// A pool of connections whose sessions are all prepared alike, and by some statements more.
pub(crate) fn pool_of(
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
pub(crate) async fn prepare_session(client: &Client, statement_timeout: Duration) -> Result<(), tokio_postgres::Error> {
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
