//! Prepares the databases at start. They may not be reachable yet.

use std::{net::SocketAddr, time::Duration};

use anyhow::{anyhow, bail};
use db::{
    Place, Shards, ShardsError, Store, pooler,
    schema::{self, SchemaError, SchemaStatus},
};
use tokio::time::{Instant, sleep};

use crate::{auth::AccessTables, process::service_manager, telemetry::metrics::Metrics};

/// How long a start waits for a database that cannot be reached yet, as when both start at the same time.
pub(super) const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a start waits before it asks again.
const PAUSE: Duration = Duration::from_secs(1);

/// Migrates the schema if the settings say so, and refuses one that does not fit, and databases that are not those that the
/// settings mean. While some do not answer, the schemas of those that do are looked at all the same.
pub(super) async fn prepare_schema(
    shards: &Shards,
    migrate: bool,
    patience: Duration,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let prepared = if migrate {
        migrate_all(shards, patience).await
    } else {
        patiently(patience, async || shards.verify().await).await
    };
    let (away, patience) = match prepared {
        Err(error) if is_outage(&error) && shards.counter().is_some() => (Some(error), Duration::ZERO),
        prepared => (prepared.map(|()| None)?, patience),
    };
    for shard in 0..shards.len() {
        match look_at_schema(shards, shard, migrate, patience, metrics).await {
            Err(error) if away.is_some() && is_outage(&error) => {}
            looked => looked?,
        }
    }
    away.map_or(Ok(()), Err)
}

async fn migrate_all(shards: &Shards, patience: Duration) -> anyhow::Result<()> {
    let migrated = patiently(patience, async || shards.migrate(None, None).await).await?;
    for (shard, migrated) in migrated.into_iter().enumerate() {
        let (place, applied) = (shards.place(shard), migrated.applied.len());
        tracing::info!(flavour = %migrated.flavour, migrations = applied, "{place}the schema is up to date");
        if !migrated.roles.lacking.is_empty() {
            tracing::warn!(
                "{place}some roles of the schema are not set up; `analytics-cli doctor` lists what they lack"
            );
        }
    }
    Ok(())
}

async fn look_at_schema(
    shards: &Shards,
    shard: usize,
    migrate: bool,
    patience: Duration,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let (store, place) = (&shards[shard], shards.place(shard));
    let of_shard = |error: SchemaError| ShardsError::Schema(shards.place(shard), Box::new(error));
    if !migrate {
        // `migrate` checks this itself.
        patiently(patience, async || sessions(store).await.map_err(of_shard)).await?;
    }
    let status: SchemaStatus = patiently(patience, async || schema::status(store).await.map_err(of_shard)).await?;
    let metrics = &metrics.shards[shard].database;
    metrics.schema_version.set(status.version().into());
    metrics.answered();
    // One that is to be migrated is older for as long as others are away.
    if let Some(complaint) = status.complaint().filter(|_| !migrate || status.is_newer()) {
        bail!("{place}{complaint}");
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
    Ok(())
}

/// Prepares the schema once every database answers. Returns what is wrong with the schema; never returns if nothing is.
pub(super) async fn prepare_schema_later(
    shards: &Shards,
    migrate: bool,
    address: SocketAddr,
    metrics: &Metrics,
) -> anyhow::Error {
    loop {
        // One that is not what the settings mean is found also while others do not answer.
        match prepare_schema(shards, migrate, Duration::ZERO, metrics).await {
            Ok(()) => {
                service_manager::serves(address);
                return std::future::pending().await;
            }
            Err(error) if is_outage(&error) => sleep(PAUSE).await,
            Err(error) => return error,
        }
    }
}

async fn sessions(store: &Store) -> Result<(), SchemaError> {
    pooler::sessions(store).await??;
    Ok(())
}

/// Whether the tokens could be read. `may_do_without`: the daemon works without them.
pub(super) async fn read_tokens(
    tokens: &AccessTables,
    first: Place,
    patience: Duration,
    may_do_without: bool,
) -> anyhow::Result<bool> {
    let read = async || tokens.refresh().await.map_err(|error| ShardsError::Store(first.clone(), error));
    match patiently(patience, read).await {
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
async fn patiently<T>(patience: Duration, mut call: impl AsyncFnMut() -> Result<T, ShardsError>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match call().await {
            Err(error) if error.is_silence() => {
                if began.elapsed() >= patience {
                    return Err(anyhow!(error).context(format!("no database after {} seconds", patience.as_secs())));
                }
                tracing::warn!(%error, "waiting for the database");
                sleep(PAUSE).await;
            }
            other => return Ok(other?),
        }
    }
}
