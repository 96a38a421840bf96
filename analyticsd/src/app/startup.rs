//! Prepares the database at start. It may not be reachable yet.

use std::{net::SocketAddr, time::Duration};

use anyhow::{anyhow, bail};
use db::{
    Store, StoreError, pooler,
    schema::{self, SchemaError, SchemaStatus},
};
use tokio::time::{Instant, sleep};

use crate::{auth::AccessTables, process::service_manager, telemetry::metrics::Metrics};

/// How long a start waits for a database that cannot be reached yet, as when both start at the same time.
pub(super) const DATABASE_PATIENCE: Duration = Duration::from_secs(30);

/// Migrates the schema if the settings say so, and refuses one that does not fit.
pub(super) async fn prepare_schema(
    store: &Store,
    migrate: bool,
    patience: Duration,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    if migrate {
        let migrated = patiently(patience, async || schema::migrate(store, None).await).await?;
        tracing::info!(flavour = %migrated.flavour, migrations = migrated.applied.len(), "the schema is up to date");
        if !migrated.roles.lacking.is_empty() {
            tracing::warn!("some roles of the schema are not set up; `analytics-cli doctor` lists what they lack");
        }
    } else {
        // `migrate` checks this itself.
        patiently(patience, async || Ok(pooler::sessions(store).await??)).await?;
    }
    let status: SchemaStatus = patiently(patience, async || schema::status(store).await).await?;
    metrics.database.schema_version.set(status.version().into());
    metrics.database.answered();
    if let Some(complaint) = status.complaint() {
        bail!("{complaint}");
    }
    if status.is_newer_but_compatible() {
        tracing::warn!("a newer version made the schema. This daemon can use it; upgrade the daemon too");
    }
    if let Err(error) = store.open_read_connections().await {
        tracing::warn!(%error, "the connections for reading counts are not open yet; the first queries wait for them");
    }
    Ok(())
}

/// Prepares the schema once the database answers. Returns what is wrong with the schema; never returns if nothing is.
pub(super) async fn prepare_schema_later(
    store: &Store,
    migrate: bool,
    address: SocketAddr,
    metrics: &Metrics,
) -> anyhow::Error {
    loop {
        store.answers().await;
        match prepare_schema(store, migrate, DATABASE_PATIENCE, metrics).await {
            Ok(()) => {
                service_manager::serves(address);
                return std::future::pending().await;
            }
            Err(error) if is_outage(&error) => {}
            Err(error) => return error,
        }
    }
}

/// Whether the tokens could be read. With a spool the daemon works without them.
pub(super) async fn read_tokens(tokens: &AccessTables, patience: Duration, has_spool: bool) -> anyhow::Result<bool> {
    match patiently(patience, async || Ok(tokens.refresh().await?)).await {
        Ok(()) => Ok(true),
        Err(error) if has_spool && is_outage(&error) => {
            tracing::warn!("{}; the access tokens cannot be read", db::describe(error.as_ref()));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn is_outage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StoreError>().is_some_and(StoreError::is_outage)
}

/// Repeats a call for a while as long as the database cannot be reached.
async fn patiently<T>(patience: Duration, mut call: impl AsyncFnMut() -> Result<T, SchemaError>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match call().await {
            Err(SchemaError::Store(
                error @ (StoreError::Unreachable(_) | StoreError::TimedOut(_) | StoreError::Cancelled(_)),
            )) => {
                if began.elapsed() >= patience {
                    return Err(anyhow!(error).context(format!("no database after {} seconds", patience.as_secs())));
                }
                tracing::warn!(%error, "waiting for the database");
                sleep(Duration::from_secs(1)).await;
            }
            other => return Ok(other?),
        }
    }
}
