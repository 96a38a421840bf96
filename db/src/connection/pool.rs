//! Pools of connections.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, QueueMode, RecycleError, RecycleResult},
};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Client;

use super::{
    connector::{Connected, Connector},
    lineage::{TakenOver, Takeovers},
    options::StoreOptions,
    preparation::prepare_session,
};
use crate::StoreError;

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

/// Opens the connections of a pool, whose sessions are all prepared alike, and by some statements more.
pub(crate) struct Manager {
    connector: Arc<Connector>,
    round_trip: Arc<RoundTrip>,
    statement_timeout: Duration,
    more_to_prepare: &'static str,
}

/// A connection of a pool, which keeps its prepared statements.
pub(crate) struct PooledClient {
    client: ClientWrapper,
    skipped_standby: Arc<AtomicBool>,
    round_trip: Arc<RoundTrip>,
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

    /// How long the way to the server and back takes: the shortest time that any connection of the pool found when it was opened.
    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.round_trip.0.load(Ordering::Relaxed))
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
            let prepare = format!(
                "set plan_cache_mode = force_generic_plan; set analytics.sends_ahead = on; {}",
                self.more_to_prepare
            );
            connected.batch_execute(&prepare).await?;
            self.round_trip.measure(&connected).await
        };
        prepare.await.map_err(StoreError::of_new_session)?;
        let Connected { client, driver, skipped_standby, takeovers, .. } = connected;
        let (client, connector) = (ClientWrapper::new(client, driver.detach()), Arc::clone(&self.connector));
        let round_trip = Arc::clone(&self.round_trip);
        Ok(PooledClient { client, skipped_standby, round_trip, connector, takeovers })
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

/// In nanoseconds. Work on either machine makes it look longer, never shorter.
struct RoundTrip(AtomicU64);

impl RoundTrip {
    async fn measure(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        for _ in 0..3 {
            let began = Instant::now();
            client.batch_execute("").await?;
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.0.fetch_min(took, Ordering::Relaxed);
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
    let round_trip = Arc::new(RoundTrip(AtomicU64::new(u64::MAX)));
    Pool::builder(Manager { connector, round_trip, statement_timeout: options.statement_timeout, more_to_prepare })
        .max_size(max)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(options.connect_timeout))
        // A connection keeps the memory of its largest batch, here and in the server. So few of them work, not all in turn.
        .queue_mode(QueueMode::Lifo)
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
