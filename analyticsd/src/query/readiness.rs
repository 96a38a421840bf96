//! Whether events can be stored, tokens can be checked, and the database answers and has the schema of this build.
//! Anyone may ask, so the cost for the database does not depend on how many ask.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use db::{
    Retention, Shards, Store, StoreOptions,
    schema::{self, SchemaError},
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, join_all},
};
use tokio::time::timeout;

use crate::{
    auth::Gate,
    ingest::storing::Storing,
    telemetry::{metrics::Metrics, outage::Outage},
};

/// How long a result is valid.
const VALIDITY: Duration = Duration::from_millis(500);

/// How long a check may take before the last result is returned, if events are being stored.
const PATIENCE: Duration = Duration::from_secs(2);

/// Checks whether the daemon is ready.
pub(crate) struct Readiness {
    shards: Vec<OfShard>,
    gate: Arc<Gate>,
}

/// Checks one shard, on a connection of its own, so that it takes none from events and counts.
struct OfShard {
    storing: Arc<Storing>,
    store: Store,
    look: Mutex<Option<Look>>,
    last: Arc<Last>,
    outage: Arc<Outage>,
}

/// A check of the database, shared by all requests that come during it.
struct Look {
    began: Instant,
    found: Shared<BoxFuture<'static, Found>>,
}

/// Ok if the shard is ready, otherwise the reason.
type Found = Result<(), String>;

/// The last result. It stays valid while events are being stored and the check itself gets no answer: if the server has
/// no free connection for it, or a lock delays it, events are stored all the same.
struct Last {
    storing: Arc<Storing>,
    found: Mutex<Option<Found>>,
}

impl Last {
    fn remember(&self, found: &Found) {
        *self.found() = Some(found.clone());
    }

    fn recall(&self) -> Option<Found> {
        self.found().clone().filter(|_| self.storing.stored_lately())
    }

    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readiness {
    /// Prepares to connect; nothing is opened yet.
    pub(crate) fn new(shards: &Shards, storing: Vec<Arc<Storing>>, gate: Arc<Gate>, metrics: &Metrics) -> Self {
        let options = StoreOptions {
            application_name: "analyticsd readiness".to_owned(),
            max_connections: 1,
            works_on_raw_events: false,
            ..StoreOptions::default()
        };
        let shards = shards.with_options(&options);
        let of_shards = shards.iter().zip(storing).zip(&metrics.shards);
        let of_shards = of_shards.map(|((store, storing), metrics)| {
            metrics.watch_pool("readiness", store, Store::pool_use);
            let last = Arc::new(Last { storing: Arc::clone(&storing), found: Mutex::default() });
            OfShard { storing, store: store.clone(), look: Mutex::default(), last, outage: Arc::default() }
        });
        Self { shards: of_shards.collect(), gate }
    }

    /// Whether the daemon is ready now, or was half a second ago. One of whose shards some store events is ready for their
    /// visitors: the text says which are not. An error is the reason why it is not ready at all.
    pub(crate) async fn ask(&self) -> Result<String, String> {
        if self.gate.is_closed() {
            return Err(
                "Every request that needs a token is refused: the access tokens cannot be read from the database. The \
                 cause is in the log."
                    .to_owned(),
            );
        }
        let found = join_all(self.shards.iter().map(OfShard::ask)).await;
        let is_away = found.iter().all(Result::is_err);
        let of_shard = |(shard, found): (usize, Found)| match found {
            Err(reason) if self.shards.len() == 1 => Some(reason),
            Err(reason) => Some(format!("Shard {shard}: {reason}")),
            Ok(()) => None,
        };
        let reasons: Vec<String> = found.into_iter().enumerate().filter_map(of_shard).collect();
        if is_away {
            Err(reasons.join(" "))
        } else {
            Ok(std::iter::once("ready".to_owned()).chain(reasons).map(|line| line + "\n").collect())
        }
    }
}

impl OfShard {
    async fn ask(&self) -> Found {
        if let Some(trouble) = self.storing.trouble().await {
            return Err(format!("No event can be stored: {trouble}. The cause is in the log."));
        }
        let found = {
            let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
            let usable = look.take().filter(|look| look.found.peek().is_none() || look.began.elapsed() < VALIDITY);
            look.insert(usable.unwrap_or_else(|| self.begin())).found.clone()
        };
        match timeout(PATIENCE, found.clone()).await {
            Ok(found) => found,
            Err(_) => match self.last.recall() {
                Some(last) => last,
                None => found.await,
            },
        }
    }

    /// The check runs to its end even if no request waits for it: a cancelled query would leave the connection in an
    /// unknown state.
    fn begin(&self) -> Look {
        let (store, last, outage) = (self.store.clone(), Arc::clone(&self.last), Arc::clone(&self.outage));
        let looking = tokio::spawn(async move { look(&store, &last, &outage).await });
        let found = async {
            looking.await.unwrap_or_else(|_| Err("The server could not find out whether it is ready.".to_owned()))
        };
        Look { began: Instant::now(), found: found.boxed().shared() }
    }
}

async fn look(store: &Store, last: &Last, outage: &Outage) -> Found {
    match complaint(store).await {
        Ok(complaint) => {
            if outage.ends() {
                tracing::info!("the readiness of the database can be checked again");
            }
            let found = complaint.map_or(Ok(()), Err);
            last.remember(&found);
            found
        }
        Err(error) => {
            if outage.begins() {
                tracing::warn!(%error, "the readiness of the database cannot be checked");
            }
            let is_there = matches!(&error, SchemaError::Store(error) if error.was_said());
            let away = || Err("The database does not answer. The cause is in the log.".to_owned());
            last.recall().filter(|_| is_there).unwrap_or_else(away)
        }
    }
}

/// Why current events cannot be stored although the database answers.
async fn complaint(store: &Store) -> Result<Option<String>, SchemaError> {
    if let Some(complaint) = schema::status(store).await?.complaint() {
        return Ok(Some(complaint));
    }
    let due = Retention::due(store).await?;
    Ok(due.in_the_future().map(|from| {
        format!("Events before {from}, a time in the future, are refused. `analytics-cli retention confirm` moves retention back.")
    }))
}
