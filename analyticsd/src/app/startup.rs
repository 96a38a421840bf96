//! Prepares the databases at start. They may not be reachable yet.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{anyhow, bail};
use db::{
    Shards, ShardsError, Store, pooler,
    schema::{self, SchemaError, SchemaStatus},
};
use tokio::time::{Instant, sleep};

use crate::{auth::AccessTables, process::service_manager, telemetry::metrics::Metrics};

/// How long a start waits for a database that cannot be reached yet, as when both start at the same time.
pub(super) const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a start waits before it asks again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be seen to in the databases before they are used.
pub(super) struct Preparation {
    shards: Shards,
    migrates: bool,
    metrics: Arc<Metrics>,
    /// Which shards have a schema that can be used.
    is_fit: Vec<bool>,
}

impl Preparation {
    pub(super) fn new(shards: &Shards, migrates: bool, metrics: &Arc<Metrics>) -> Self {
        Self { shards: shards.clone(), migrates, metrics: Arc::clone(metrics), is_fit: vec![false; shards.len()] }
    }

    /// Migrates the schema if the settings say so, and refuses one that does not fit, and databases that are not those that
    /// the settings mean. While some do not answer, the schemas of those that do are looked at all the same.
    pub(super) async fn make(&mut self, patience: Duration) -> anyhow::Result<()> {
        let prepared = if self.migrates {
            self.migrate(patience).await
        } else {
            patiently(&self.shards, patience, async || self.shards.verify().await).await
        };
        let (away, patience) = match prepared {
            Err(error) if is_outage(&error) && self.shards.counter().is_some() => (Some(error), Duration::ZERO),
            prepared => (prepared.map(|()| None)?, patience),
        };
        for shard in 0..self.shards.len() {
            if self.is_fit[shard] {
                continue;
            }
            match self.look_at_schema(shard, patience).await {
                Err(error) if away.is_some() && is_outage(&error) => {}
                looked => self.is_fit[shard] = looked?,
            }
        }
        away.map_or(Ok(()), Err)
    }

    /// The same once every database answers. Returns what is wrong with one; never returns if nothing is.
    pub(super) async fn make_later(mut self, address: SocketAddr) -> anyhow::Error {
        loop {
            // One that is not what the settings mean is found also while others do not answer.
            match self.make(Duration::ZERO).await {
                Ok(()) => {
                    service_manager::serves(address);
                    return std::future::pending().await;
                }
                Err(error) if is_outage(&error) => sleep(PAUSE).await,
                Err(error) => return error,
            }
        }
    }

    async fn migrate(&self, patience: Duration) -> anyhow::Result<()> {
        let migrated = patiently(&self.shards, patience, async || self.shards.migrate(None, None).await).await?;
        for (shard, migrated) in migrated.into_iter().enumerate() {
            let (place, applied) = (self.shards.place(shard), migrated.applied.len());
            tracing::info!(flavour = %migrated.flavour, migrations = applied, "{place}the schema is up to date");
            if !migrated.roles.lacking.is_empty() {
                tracing::warn!(
                    "{place}some roles of the schema are not set up; `analytics-cli doctor` lists what they lack"
                );
            }
        }
        Ok(())
    }

    /// Returns whether this program can use the schema, or it is to be migrated once all shards answer.
    async fn look_at_schema(&self, shard: usize, patience: Duration) -> anyhow::Result<bool> {
        let (store, place) = (&self.shards[shard], self.shards.place(shard));
        let of_shard = |error: SchemaError| ShardsError::Schema(self.shards.place(shard), Box::new(error));
        if !self.migrates {
            // `migrate` checks this itself.
            patiently(&self.shards, patience, async || sessions(store).await.map_err(of_shard)).await?;
        }
        let status: SchemaStatus =
            patiently(&self.shards, patience, async || schema::status(store).await.map_err(of_shard)).await?;
        let metrics = &self.metrics.shards[shard].database;
        metrics.schema_version.set(status.version().into());
        metrics.answered();
        match status.complaint() {
            Some(complaint) if !self.migrates || status.is_newer() => bail!("{place}{complaint}"),
            Some(_) => return Ok(false),
            None => {}
        }
        if status.is_newer_but_compatible() {
            tracing::warn!("{place}a newer version made the schema. This daemon can use it; upgrade the daemon too");
        }
        if let Err(error) = store.open_read_connections().await {
            tracing::warn!(
                %error,
                "{place}the connections for reading counts are not open yet; the first queries wait for them"
            );
        }
        Ok(true)
    }
}

async fn sessions(store: &Store) -> Result<(), SchemaError> {
    pooler::sessions(store).await??;
    Ok(())
}

/// Whether the tokens could be read. `may_do_without`: the daemon works without them.
pub(super) async fn read_tokens(
    tokens: &AccessTables,
    shards: &Shards,
    patience: Duration,
    may_do_without: bool,
) -> anyhow::Result<bool> {
    let read = async || tokens.refresh().await.map_err(|error| ShardsError::Store(shards.place(0), error));
    match patiently(shards, patience, read).await {
        Ok(()) => Ok(true),
        Err(error) if may_do_without && is_outage(&error) => {
            tracing::warn!("{}; the access tokens cannot be read", db::describe(error.as_ref()));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn is_outage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ShardsError>().is_some_and(ShardsError::is_outage)
}

/// Repeats a call for a while as long as a database cannot be reached.
async fn patiently<T>(
    shards: &Shards,
    patience: Duration,
    mut call: impl AsyncFnMut() -> Result<T, ShardsError>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match call().await {
            Err(error) if error.is_silence() => {
                if patience.is_zero() {
                    return Err(error.into());
                }
                if began.elapsed() >= patience {
                    return Err(anyhow!(error).context(format!(
                        "{} did not answer for {} seconds",
                        shards.names(),
                        patience.as_secs()
                    )));
                }
                tracing::warn!(%error, "waiting for {}", shards.names());
                sleep(PAUSE).await;
            }
            other => return Ok(other?),
        }
    }
}
