//! Whether events can be stored, somebody is let in to send them, and the database answers and has the schema of this build. It is asked by anybody, and so costs the database the same
//! however many ask.

use std::{
    sync::{Arc, Mutex, PoisonError},
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

use crate::{access::Gate, metrics::Metrics, outage::Outage, storing::Storing};

/// For how long what was found out holds.
const VALIDITY: Duration = Duration::from_millis(500);

/// How long a look may wait for the database. It reads two small rows.
const PATIENCE: Duration = Duration::from_secs(2);

/// What tells whether the daemon is ready. It has a connection of its own, so that it takes none away from events and counts.
pub struct Readiness {
    storing: Arc<Storing>,
    gate: Arc<Gate>,
    store: Store,
    look: Mutex<Option<Look>>,
    /// What was found out last.
    known: Arc<Mutex<Option<Found>>>,
    outage: Arc<Outage>,
}

/// A look at the database, which all who ask meanwhile share.
struct Look {
    began: Instant,
    found: Shared<BoxFuture<'static, Found>>,
}

/// Nothing if the daemon is ready, or what is wrong.
type Found = Result<(), String>;

impl Readiness {
    /// Prepares to connect; nothing is opened yet.
    pub fn new(
        database_url: &str,
        storing: Arc<Storing>,
        gate: Arc<Gate>,
        metrics: &Metrics,
    ) -> Result<Self, DatabaseUrlError> {
        let options = StoreOptions {
            application_name: "analyticsd readiness".to_owned(),
            max_connections: 1,
            works_on_raw_events: false,
            statement_timeout: PATIENCE,
            ..StoreOptions::default()
        };
        let store = Store::new(database_url, options)?;
        metrics.watch_pool("readiness", &store, Store::pool_use);
        Ok(Self { storing, gate, store, look: Mutex::default(), known: Arc::default(), outage: Arc::default() })
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
        found.await
    }

    /// The look goes on when nobody waits for it any more, since what is given up in the middle leaves a connection in doubt.
    fn begin(&self) -> Look {
        let (store, storing) = (self.store.clone(), Arc::clone(&self.storing));
        let (known, outage) = (Arc::clone(&self.known), Arc::clone(&self.outage));
        let looking = tokio::spawn(async move { look(&store, &storing, &known, &outage).await });
        let found =
            async { looking.await.unwrap_or_else(|_| Err("Whether this server is ready is not known.".to_owned())) };
        Look { began: Instant::now(), found: found.boxed().shared() }
    }
}

async fn look(store: &Store, storing: &Storing, known: &Mutex<Option<Found>>, outage: &Outage) -> Found {
    let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
    match complaint(store).await {
        Ok(complaint) => {
            if outage.ends() {
                tracing::info!("the database can be asked again whether it is ready");
            }
            let found = complaint.map_or(Ok(()), Err);
            *known() = Some(found.clone());
            found
        }
        Err(error) => {
            if outage.begins() {
                tracing::warn!(%error, "the database cannot be asked whether it is ready");
            }
            // A server that has no connection for this, or somebody who holds a lock, does not keep events from being stored.
            let is_there = matches!(&error, SchemaError::Store(error) if error.was_said());
            let last = known().clone().filter(|_| is_there && storing.stored_lately());
            last.unwrap_or_else(|| Err("The database does not answer. The cause is in the log.".to_owned()))
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
