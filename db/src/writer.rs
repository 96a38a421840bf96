use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{Event, Hour};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Row, types::ToSql};

use crate::{
    Claim, SpoolPosition, Store, StoreError, claims::ClaimColumns, columns::Columns, error::is_connection_lost,
    known_visitors::KnownVisitors,
};

/// Says that the writer's row is gone or stands elsewhere: see `ingest` in the migrations.
const NOT_REGISTERED: &str = "AN001";
/// Says that another transaction stored the same at the same moment: see `ingest_once` in the migrations.
const STORED_AT_THE_SAME_MOMENT: &str = "AN006";

/// How often a batch is tried in a row that others store parts of at the same moment. Each time those parts are fewer.
const MAX_ATTEMPTS: usize = 8;

/// Pauses between attempts to find out what became of a batch: doubled each time, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What the database answered to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested {
    /// Every event is committed.
    Stored,
    /// Nothing is stored, because of these hours.
    Blocked {
        /// Settled hours: to be opened with [`Store::reopen`] first.
        settled: Vec<Hour>,
        /// Hours whose raw events are gone, so that no event can be added to them exactly, ever.
        expired: Vec<Hour>,
    },
    /// Nothing is stored, because some of the claimed keys are there already. These are places in the claims given.
    Claimed {
        /// Stored earlier, for the same request: its events must be left out.
        repeated: Vec<usize>,
        /// Stored earlier, for another request.
        conflicting: Vec<usize>,
    },
}

/// A batch that is not known to be stored.
#[derive(Debug, Error)]
pub enum IngestError {
    /// Certainly nothing of the batch is stored, and nothing will be.
    #[error("nothing is stored: {0}")]
    NotStored(#[source] StoreError),
    /// The connection died before the answer, or the statement was given up.
    #[error(transparent)]
    Undecided(Undecided),
}

/// A batch whose connection died before the answer, or whose statement was given up: stored or not, and the database knows.
#[derive(Debug, Error)]
#[error("no answer says whether batch {batch} of writer {writer} is stored: {cause}")]
#[must_use = "somebody waits to hear whether the batch is stored"]
pub struct Undecided {
    writer: i64,
    batch: i64,
    cause: StoreError,
}

/// What became of an [`Undecided`] batch.
#[derive(Debug)]
pub enum Fate {
    /// It is committed.
    Stored,
    /// Certainly nothing of it is stored, and nothing will be.
    NotStored,
    /// The database did not tell in time.
    Unknown(StoreError),
}

impl Undecided {
    /// Whether the database kept silent, rather than the connection being broken.
    pub fn timed_out(&self) -> bool {
        matches!(self.cause, StoreError::TimedOut(_))
    }

    /// Whether the database said that it gave the statement up.
    pub fn was_cancelled(&self) -> bool {
        matches!(self.cause, StoreError::Cancelled(_))
    }

    /// Asks the database, as soon as it answers again and for `patience` at most, whether the batch was stored. Its writer has ended,
    /// so that what is still on its way cannot be stored after the answer.
    pub async fn find_out(&self, store: &Store, patience: Duration) -> Fate {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let left = patience.saturating_sub(began.elapsed());
            let cause = match timeout(left, fence(store, self.writer)).await {
                Ok(Ok(last_stored)) if last_stored == self.batch => return Fate::Stored,
                Ok(Ok(_)) => return Fate::NotStored,
                Ok(Err(cause)) => cause,
                Err(_) => StoreError::TimedOut(patience),
            };
            if began.elapsed() + pause > patience {
                return Fate::Unknown(cause);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Stores batches of events, one at a time. Each has a row in `analytics.writers` that tells the fate of its last batch.
pub struct Writer {
    store: Store,
    registered: Option<Registered>,
}

/// A row in `analytics.writers`, and what holds for as long as it stands where the writer left it.
struct Registered {
    id: i64,
    /// The number of the last stored batch.
    last_batch: i64,
    known: KnownVisitors,
}

impl Registered {
    async fn anew(store: &Store) -> Result<Self, StoreError> {
        let id = store
            .on_client(async |client| Ok(client.query_one("select analytics.register_writer()", &[]).await?.get(0)))
            .await?;
        Ok(Self { id, last_batch: 0, known: KnownVisitors::default() })
    }
}

impl Writer {
    /// A writer that registers itself with its first batch, and anew after one whose fate was not known.
    pub fn new(store: Store) -> Self {
        Self { store, registered: None }
    }

    /// The connections that it stores through.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Stores and counts a batch, all or nothing. When this returns [`Ingested::Stored`] the batch is committed.
    pub async fn ingest(&mut self, events: impl IntoIterator<Item = &Event>) -> Result<Ingested, IngestError> {
        self.ingest_once(events, &[], None).await
    }

    /// The same for a batch that holds events under keys, or that was read from a spool, or both: each of the claims, and the place in
    /// the spool, is stored with the events in one transaction. A key and an hour may stand in the claims only once.
    pub async fn ingest_once(
        &mut self,
        events: impl IntoIterator<Item = &Event>,
        claims: &[Claim],
        spooled: Option<SpoolPosition<'_>>,
    ) -> Result<Ingested, IngestError> {
        let events: Vec<&Event> = events.into_iter().collect();
        let claims = ClaimColumns::of(claims);
        let mut attempts = 1;
        loop {
            let registered = registered(&self.store, &mut self.registered).await.map_err(IngestError::NotStored)?;
            let batch = Batch {
                writer: registered.id,
                after: registered.last_batch,
                columns: Columns::of(events.iter().copied(), &registered.known),
                claims: &claims,
                spooled,
            };
            let cause = match batch.ingest(&self.store).await {
                Ok(Ingested::Stored) => {
                    registered.last_batch = batch.number();
                    registered.known.add(&batch.columns);
                    return Ok(Ingested::Stored);
                }
                Ok(not_stored) => return Ok(not_stored),
                Err(Attempt::NotSent(cause) | Attempt::Refused(cause)) => return Err(IngestError::NotStored(cause)),
                Err(Attempt::FateUnknown(cause)) => {
                    let undecided = Undecided { writer: batch.writer, batch: batch.number(), cause };
                    self.registered = None;
                    return Err(IngestError::Undecided(undecided));
                }
                // The row of a writer that was idle for long is tidied up. A new row serves, and knows nobody.
                Err(Attempt::NotRegistered(cause)) => {
                    self.registered = None;
                    cause
                }
                Err(Attempt::StoredByAnother(cause)) => cause,
            };
            if attempts == MAX_ATTEMPTS {
                return Err(IngestError::NotStored(cause));
            }
            attempts += 1;
        }
    }

    /// Ends the writer, so that nothing can be stored in its name any more. The settler tidies its row up.
    pub async fn retire(self) -> Result<(), StoreError> {
        match self.registered {
            Some(registered) => fence(&self.store, registered.id).await.map(|_| ()),
            None => Ok(()),
        }
    }
}

/// What the writer is registered as; it registers if it is not yet.
async fn registered<'a>(store: &Store, row: &'a mut Option<Registered>) -> Result<&'a mut Registered, StoreError> {
    let registered = match row.take() {
        Some(registered) => registered,
        None => Registered::anew(store).await?,
    };
    Ok(row.insert(registered))
}

/// Ends the writer of that number, and returns the number of the last batch that it stored; 0 if it stored none or has no
/// row, without which it cannot have stored one.
async fn fence(store: &Store, writer: i64) -> Result<i64, StoreError> {
    store
        .on_client(async |client| {
            Ok(client
                .query_one("select analytics.fence_writer($1)", &[&writer])
                .await?
                .try_get::<_, Option<i64>>(0)?
                .unwrap_or(0))
        })
        .await
}

struct Batch<'a> {
    writer: i64,
    /// The number of the writer's last stored batch.
    after: i64,
    columns: Columns<'a>,
    claims: &'a ClaimColumns<'a>,
    spooled: Option<SpoolPosition<'a>>,
}

impl Batch<'_> {
    /// A number that was given before was given to a batch that was certainly not stored.
    fn number(&self) -> i64 {
        self.after + 1
    }

    /// Whether there is anything for `ingest_once` to look at. What most events need is the leaner function.
    fn once(&self) -> bool {
        self.spooled.is_some() || !self.claims.keys.is_empty()
    }

    async fn ingest(&self, store: &Store) -> Result<Ingested, Attempt> {
        let client = store.client().await.map_err(Attempt::NotSent)?;
        let limit = store.statement_limit();
        let Ok(rows) = timeout(limit, self.send(&client)).await else {
            // The connection has a call under way that nobody waits for: it must not go back to the pool.
            drop(deadpool_postgres::Object::take(client));
            return Err(Attempt::FateUnknown(StoreError::TimedOut(limit)));
        };
        let rows = rows?;
        let row = rows.first().expect("ingest has out parameters, so it returns one row");
        let (settled, expired) = (hours_in(row, 0), hours_in(row, 1));
        if !settled.is_empty() || !expired.is_empty() {
            return Ok(Ingested::Blocked { settled, expired });
        }
        if self.once() {
            let (repeated, conflicting) = (self.claims.places_of(row.get(2)), self.claims.places_of(row.get(3)));
            if !repeated.is_empty() || !conflicting.is_empty() {
                return Ok(Ingested::Claimed { repeated, conflicting });
            }
        }
        Ok(Ingested::Stored)
    }

    async fn send(&self, client: &deadpool_postgres::Client) -> Result<Vec<Row>, Attempt> {
        let Columns { times, users, clicks, hours, hour_clicks, hour_impressions, seen_hours, seen_users } =
            &self.columns;
        let prepared = client
            .prepare_cached(if self.once() {
                "select settled, expired, repeated, conflicting \
                 from analytics.ingest_once($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
            } else {
                "select settled, expired from analytics.ingest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
            })
            .await;
        let statement = prepared.map_err(|error| Attempt::NotSent(error.into()))?;
        let number = self.number();
        let spool = self.spooled.map(|at| at.spool);
        let (from, to) = self.spooled.map(|at| (at.from, at.to)).unzip();
        let claims = self.claims;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &self.writer,
            &self.after,
            &number,
            times,
            users,
            clicks,
            hours,
            hour_clicks,
            hour_impressions,
            seen_hours,
            seen_users,
        ];
        if self.once() {
            parameters.extend([
                &claims.hours as &(dyn ToSql + Sync),
                &claims.keys,
                &claims.fingerprints,
                &spool,
                &from,
                &to,
            ]);
        }
        // `query` returns after the server is ready for the next statement, which is after the commit.
        client.query(&statement, &parameters).await.map_err(Attempt::of_sent)
    }
}

fn hours_in(row: &Row, column: usize) -> Vec<Hour> {
    let starts: Option<Vec<DateTime<Utc>>> = row.get(column);
    starts.unwrap_or_default().into_iter().filter_map(Hour::starting_at).collect()
}

/// What one call of `ingest` came to, if it stored nothing or nobody knows.
enum Attempt {
    /// No statement reached the server.
    NotSent(StoreError),
    /// The server answered that it rolled back.
    Refused(StoreError),
    /// The server answered that this writer has no row, or one that stands elsewhere, and rolled back.
    NotRegistered(StoreError),
    /// The server answered that another transaction stored the same, and rolled back.
    StoredByAnother(StoreError),
    /// The connection broke after the statement was sent.
    FateUnknown(StoreError),
}

impl Attempt {
    fn of_sent(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if code.code() == NOT_REGISTERED => Self::NotRegistered(error.into()),
            Some(code) if code.code() == STORED_AT_THE_SAME_MOMENT => Self::StoredByAnother(error.into()),
            // An ordinary error is a rollback. One that ends the session may have come right after the commit.
            Some(code) if !is_connection_lost(code) => Self::Refused(error.into()),
            _ => Self::FateUnknown(error.into()),
        }
    }
}
