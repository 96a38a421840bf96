//! Connections: what is said on each before its first use, and the pools that hold them.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, RecycleError, RecycleResult},
};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Client;

use super::{
    connector::{Connected, Connector},
    lineage::{TakenOver, Takeovers},
};
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
    /// The longest that waiting for a free connection may take, and that one of several addresses of the database may keep silent, unless its URL names
    /// a `connect_timeout`. A single address may take three times as long.
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

/// Opens the connections of a pool, whose sessions are all prepared alike, and by some statements more.
pub(crate) struct Manager {
    connector: Arc<Connector>,
    statement_timeout: Duration,
    more_to_prepare: &'static str,
}

/// A connection of a pool, which keeps its prepared statements.
pub(crate) struct PooledClient {
    client: ClientWrapper,
    skipped_standby: Arc<AtomicBool>,
    connector: Arc<Connector>,
    takeovers: Takeovers,
}

pub(crate) type Pool = managed::Pool<Manager>;
pub(crate) type Object = managed::Object<Manager>;

impl PooledClient {
    /// The driver's own, for what takes any of its kinds.
    pub(crate) fn plain(&self) -> &Client {
        &self.client
    }

    /// Whether the server gave up waiting for its standby within a commit since this was asked the last time.
    pub(crate) fn skipped_standby(&self) -> bool {
        self.skipped_standby.swap(false, Ordering::AcqRel)
    }

    /// What the server answered counts only if no other one has taken over since the connection was opened.
    pub(crate) fn still_current(&self) -> Result<(), StoreError> {
        if self.connector.is_current(self.takeovers) {
            Ok(())
        } else {
            Err(StoreError::Unreachable(Box::new(TakenOver)))
        }
    }
}

impl Deref for PooledClient {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for PooledClient {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

impl managed::Manager for Manager {
    type Type = PooledClient;
    type Error = StoreError;

    async fn create(&self) -> Result<PooledClient, StoreError> {
        let connected = self.connector.connect().await?;
        // The planner would otherwise plan each call anew, because it takes an array of known length to be worth it; planning takes as long as storing a
        // batch of 30 events.
        let prepare = async {
            prepare_session(&connected, self.statement_timeout).await?;
            let prepare = format!("set plan_cache_mode = force_generic_plan; {}", self.more_to_prepare);
            connected.batch_execute(&prepare).await
        };
        prepare.await.map_err(StoreError::of_new_session)?;
        let Connected { client, driver, skipped_standby, takeovers } = connected;
        let (client, connector) = (ClientWrapper::new(client, driver.detach()), Arc::clone(&self.connector));
        Ok(PooledClient { client, skipped_standby, connector, takeovers })
    }

    async fn recycle(&self, client: &mut PooledClient, metrics: &Metrics) -> RecycleResult<StoreError> {
        if client.is_closed() {
            return Err(RecycleError::message("it is closed"));
        }
        if !self.connector.trusts(metrics.created) || !self.connector.is_current(client.takeovers) {
            return Err(RecycleError::message("it is not trusted any more"));
        }
        Ok(())
    }
}

/// A pool of at most `max` connections.
pub(crate) fn pool_of(
    connector: &Arc<Connector>,
    options: &StoreOptions,
    max: usize,
    more_to_prepare: &'static str,
) -> Pool {
    let connector = Arc::clone(connector);
    Pool::builder(Manager { connector, statement_timeout: options.statement_timeout, more_to_prepare })
        .max_size(max)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(options.connect_timeout))
        .build()
        .expect("a pool with timeouts has a runtime")
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
