//! Whether events can be stored, somebody is let in to send them, and the database answers and has the schema of this build. It is asked by
//! anybody, and so costs the database the same however many ask.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use db::{
    DatabaseUrlError, Retention, Store, StoreOptions,
    schema::{self, SchemaError},
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::timeout;

use crate::{
    auth::Gate,
    ingest::storing::Storing,
    telemetry::{metrics::Metrics, outage::Outage},
};

/// For how long what was found out holds.
const VALIDITY: Duration = Duration::from_millis(500);

/// How long a look may take before what was found last is told, where events are stored.
const PATIENCE: Duration = Duration::from_secs(2);

/// What tells whether the daemon is ready. It has a connection of its own, so that it takes none away from events and counts.
pub(crate) struct Readiness {
    storing: Arc<Storing>,
    gate: Arc<Gate>,
    store: Store,
    look: Mutex<Option<Look>>,
    last: Arc<Last>,
    outage: Arc<Outage>,
}

/// A look at the database, which all who ask meanwhile share.
struct Look {
    began: Instant,
    found: Shared<BoxFuture<'static, Found>>,
}

/// Nothing if the daemon is ready, or what is wrong.
type Found = Result<(), String>;

/// What was found out last. It is told for as long as events are stored and the database, which is there, does not say more: a server that has no connection
/// for this, or somebody who holds a lock, does not keep events from being stored.
struct Last {
    storing: Arc<Storing>,
    found: Mutex<Option<Found>>,
}

impl Last {
    fn remember(&self, found: &Found) {
        *self.found() = Some(found.clone());
    }

    fn told(&self) -> Option<Found> {
        self.found().clone().filter(|_| self.storing.stored_lately())
    }

    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readiness {
    /// Prepares to connect; nothing is opened yet.
    pub(crate) fn new(
        database_url: &str,
        storing: Arc<Storing>,
        gate: Arc<Gate>,
        metrics: &Metrics,
    ) -> Result<Self, DatabaseUrlError> {
        let options = StoreOptions {
            application_name: "analyticsd readiness".to_owned(),
            max_connections: 1,
            works_on_raw_events: false,
            ..StoreOptions::default()
        };
        let store = Store::new(database_url, options)?;
        metrics.watch_pool("readiness", &store, Store::pool_use);
        let last = Arc::new(Last { storing: Arc::clone(&storing), found: Mutex::default() });
        Ok(Self { storing, gate, store, look: Mutex::default(), last, outage: Arc::default() })
    }

    /// Whether it is ready now, or was half a second ago.
    pub(crate) async fn ask(&self) -> Found {
        if let Some(trouble) = self.storing.trouble().await {
            return Err(format!("No event can be stored: {trouble}. The cause is in the log."));
        }
        if self.gate.is_closed() {
            return Err(
                "Nobody is let in: the database does not say which access tokens there are. The cause is in the log."
                    .to_owned(),
            );
        }
        let found = {
            let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
            let usable = look.take().filter(|look| look.found.peek().is_none() || look.began.elapsed() < VALIDITY);
            look.insert(usable.unwrap_or_else(|| self.begin())).found.clone()
        };
        match timeout(PATIENCE, found.clone()).await {
            Ok(found) => found,
            Err(_) => match self.last.told() {
                Some(last) => last,
                None => found.await,
            },
        }
    }

    /// The look goes on when nobody waits for it any more, since what is given up in the middle leaves a connection in doubt.
    fn begin(&self) -> Look {
        let (store, last, outage) = (self.store.clone(), Arc::clone(&self.last), Arc::clone(&self.outage));
        let looking = tokio::spawn(async move { look(&store, &last, &outage).await });
        let found =
            async { looking.await.unwrap_or_else(|_| Err("Whether this server is ready is not known.".to_owned())) };
        Look { began: Instant::now(), found: found.boxed().shared() }
    }
}

async fn look(store: &Store, last: &Last, outage: &Outage) -> Found {
    match complaint(store).await {
        Ok(complaint) => {
            if outage.ends() {
                tracing::info!("the database can be asked again whether it is ready");
            }
            let found = complaint.map_or(Ok(()), Err);
            last.remember(&found);
            found
        }
        Err(error) => {
            if outage.begins() {
                tracing::warn!(%error, "the database cannot be asked whether it is ready");
            }
            let is_there = matches!(&error, SchemaError::Store(error) if error.was_said());
            let away = || Err("The database does not answer. The cause is in the log.".to_owned());
            last.told().filter(|_| is_there).unwrap_or_else(away)
        }
    }
}

/// What keeps events of now from being stored though the database answers.
async fn complaint(store: &Store) -> Result<Option<String>, SchemaError> {
    if let Some(complaint) = schema::status(store).await?.complaint() {
        return Ok(Some(complaint));
    }
    let due = Retention::due(store).await?;
    Ok(due.in_the_future().map(|from| {
        format!("Events before {from} are refused, which is in the future: `analytics-cli retention confirm` takes that back.")
    }))
}
