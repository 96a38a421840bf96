use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{Event, Hour};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::{Store, StoreError, columns::Columns, error::is_connection_lost};

/// Says that the writer's row is gone: see `ingest` in the migrations.
const NOT_REGISTERED: &str = "AN001";

/// Pauses between attempts to find out what became of a batch: doubled each time, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What became of a batch that the database answered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested {
    /// Every event is committed.
    Stored,
    /// Nothing is stored, because of these hours.
    Blocked {
        /// Settled hours: to be reopened with [`Writer::reopen`] first.
        settled: Vec<Hour>,
        /// Hours whose raw events are gone, so that no event can be added to them exactly, ever.
        expired: Vec<Hour>,
    },
}

/// A batch that is not known to be stored.
#[derive(Debug, Error)]
pub enum IngestError {
    /// Certainly nothing of the batch is stored, and nothing will be.
    #[error("nothing is stored: {0}")]
    NotStored(#[source] StoreError),
    /// The connection died before the answer, and what became of the batch could not be found out in time.
    #[error(
        "the connection died while storing, and within {waited:?} it could not be found out whether it did store: {cause}"
    )]
    Unknown {
        /// How long was tried to find out.
        waited: Duration,
        /// What happened to the last attempt.
        cause: StoreError,
    },
}

/// Stores batches of events, one at a time. Each has a row in `analytics.writers` that tells the fate of its last batch.
pub struct Writer {
    store: Store,
    id: Option<i64>,
    batches: i64,
    fate_timeout: Duration,
}

impl Writer {
    /// A writer that registers itself with its first batch. After a broken connection it tries for at most `fate_timeout` to
    /// find out what became of the batch under way.
    pub fn new(store: Store, fate_timeout: Duration) -> Self {
        Self { store, id: None, batches: 0, fate_timeout }
    }

    /// Stores and counts a batch, all or nothing. When this returns [`Ingested::Stored`] the batch is committed.
    pub async fn ingest(&mut self, events: impl IntoIterator<Item = &Event>) -> Result<Ingested, IngestError> {
        let events = Columns::of(events);
        let id = self.registered().await.map_err(IngestError::NotStored)?;
        let mut attempt = self.try_ingest(id, &events).await;
        if matches!(attempt, Err(Attempt::NotRegistered)) {
            // The row of a writer that was idle for long is tidied up. Nothing was stored, so a new row serves.
            self.id = None;
            let id = self.registered().await.map_err(IngestError::NotStored)?;
            attempt = self.try_ingest(id, &events).await;
        }
        self.concluded(attempt).await
    }

    /// Opens a settled hour again, so that events can be added to it. An hour that is open stays as it is.
    pub async fn reopen(&mut self, hour: Hour) -> Result<(), StoreError> {
        let id = self.registered().await?;
        let client = self.store.maintenance_client().await?;
        self.store
            .bounded_maintenance(async {
                client.execute("select analytics.reopen($1, $2)", &[&hour.start().to_utc(), &id]).await?;
                Ok(())
            })
            .await
    }

    /// Ends the writer, so that nothing can be stored in its name any more. The settler tidies its row up.
    pub async fn retire(mut self) -> Result<(), StoreError> {
        match self.id.take() {
            Some(id) => self.fence(id).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn registered(&mut self) -> Result<i64, StoreError> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let id = self
            .store
            .on_client(async |client| Ok(client.query_one("select analytics.register_writer()", &[]).await?.get(0)))
            .await?;
        self.id = Some(id);
        Ok(id)
    }

    async fn try_ingest(&mut self, id: i64, events: &Columns<'_>) -> Result<Ingested, Attempt> {
        self.batches += 1;
        let batch = self.batches;
        let client = self.store.client().await.map_err(Attempt::NotSent)?;
        let call = async {
            let statement = client
                .prepare_cached(
                    "select settled, expired from analytics.ingest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                )
                .await
                .map_err(|error| Attempt::NotSent(error.into()))?;
            // `query` returns after the server is ready for the next statement, which is after the commit.
            client
                .query(
                    &statement,
                    &[
                        &id,
                        &batch,
                        &events.times,
                        &events.users,
                        &events.clicks,
                        &events.hours,
                        &events.hour_clicks,
                        &events.hour_impressions,
                        &events.seen_hours,
                        &events.seen_users,
                    ],
                )
                .await
                .map_err(Attempt::of_sent)
        };
        let limit = self.store.statement_limit();
        let Ok(rows) = tokio::time::timeout(limit, call).await else {
            // The connection has a call under way that nobody waits for: it must not go back to the pool.
            drop(deadpool_postgres::Object::take(client));
            return Err(Attempt::FateUnknown(StoreError::TimedOut(limit)));
        };
        let rows = rows?;
        let row = rows.first().expect("ingest has out parameters, so it returns one row");
        let hours = |column| {
            row.get::<_, Option<Vec<DateTime<Utc>>>>(column)
                .unwrap_or_default()
                .into_iter()
                .filter_map(Hour::starting_at)
                .collect::<Vec<_>>()
        };
        let (settled, expired) = (hours(0), hours(1));
        Ok(if settled.is_empty() && expired.is_empty() {
            Ingested::Stored
        } else {
            Ingested::Blocked { settled, expired }
        })
    }

    async fn concluded(&mut self, attempt: Result<Ingested, Attempt>) -> Result<Ingested, IngestError> {
        match attempt {
            Ok(ingested) => Ok(ingested),
            Err(Attempt::NotSent(cause) | Attempt::Refused(cause)) => Err(IngestError::NotStored(cause)),
            Err(Attempt::NotRegistered) => {
                self.id = None;
                Err(IngestError::NotStored(StoreError::Unreachable("the writer's row vanished twice in a row".into())))
            }
            Err(Attempt::FateUnknown(cause)) => self.find_out(cause).await,
        }
    }

    /// Asks the database, as soon as it answers again, whether the last batch was stored. The writer ends with the question, so
    /// that a batch that is still on its way cannot be stored after the answer.
    async fn find_out(&mut self, lost: StoreError) -> Result<Ingested, IngestError> {
        let Some(id) = self.id.take() else { return Err(IngestError::NotStored(lost)) };
        let batch = self.batches;
        tracing::warn!(writer = id, batch, cause = %lost, "lost the connection while storing a batch; finding out whether it was stored");
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let cause = match self.fence(id).await {
                Ok(last_stored) if last_stored == batch => return Ok(Ingested::Stored),
                Ok(_) => return Err(IngestError::NotStored(lost)),
                Err(cause) => cause,
            };
            let waited = began.elapsed();
            if waited + pause > self.fate_timeout {
                return Err(IngestError::Unknown { waited, cause });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Ends the writer of that number, and returns the number of the last batch that it stored; 0 if it stored none or has no
    /// row, without which it cannot have stored one.
    async fn fence(&self, id: i64) -> Result<i64, StoreError> {
        self.store
            .on_client(async |client| {
                Ok(client
                    .query_one("select analytics.fence_writer($1)", &[&id])
                    .await?
                    .try_get::<_, Option<i64>>(0)?
                    .unwrap_or(0))
            })
            .await
    }
}

/// What one call of `ingest` came to, if it stored nothing or nobody knows.
enum Attempt {
    /// No statement reached the server.
    NotSent(StoreError),
    /// The server answered that it rolled back.
    Refused(StoreError),
    /// The server answered that this writer has no row.
    NotRegistered,
    /// The connection broke after the statement was sent.
    FateUnknown(StoreError),
}

impl Attempt {
    fn of_sent(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if code.code() == NOT_REGISTERED => Self::NotRegistered,
            // An ordinary error is a rollback. One that ends the session may have come right after the commit.
            Some(code) if !is_connection_lost(code) => Self::Refused(error.into()),
            _ => Self::FateUnknown(error.into()),
        }
    }
}
