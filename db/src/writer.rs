//! Stores batches one at a time. See [`crate::Pipeline`] for several under way.

use chrono::Utc;
use model::{SiteEvent, SourceStep};
use thiserror::Error;

use crate::{
    Acknowledged, Claim, Ingested, Loss, Store, StoreError, Undecided,
    attempt::{Attempt, SendError, attempt},
    claims::ClaimColumns,
    columns::Columns,
    ingest_call::IngestCall,
    registration::Registration,
    sources::SourceColumns,
};

/// How often a batch is tried in a row that others store parts of at the same moment. Each time those parts are fewer.
const MAX_ATTEMPTS: usize = 8;

/// A batch that is not known to be stored.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Certainly nothing of the batch is stored, and nothing will be.
    #[error("nothing is stored: {0}")]
    NotStored(#[source] StoreError),
    /// Nothing that came in place of an answer proves that it is stored or that it is not.
    #[error(transparent)]
    Undecided(Undecided),
}

impl WriteError {
    /// How many of the batches that were sent behind it share its fate, the first ones.
    pub fn undecided_behind(&self) -> usize {
        match self {
            Self::NotStored(_) => 0,
            Self::Undecided(undecided) => undecided.behind.len(),
        }
    }
}

/// Stores batches of events, one at a time. Each has a row in `analytics.writers` that tells the fate of its last batch.
pub struct Writer {
    pub(crate) store: Store,
    pub(crate) registration: Registration,
}

impl Writer {
    /// A writer that registers itself with its first batch, and anew after one whose fate was not known.
    pub fn new(store: Store) -> Self {
        Self { store, registration: Registration::default() }
    }

    /// The connections that it stores through.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What it stored by a row that it left since this was asked the last time: the database may have lost some of it.
    pub fn take_left(&mut self) -> Option<Acknowledged> {
        self.registration.take_left()
    }

    /// Stores and counts a batch, all or nothing. When this returns [`Ingested::Stored`] the batch is committed.
    pub async fn ingest(&mut self, events: impl IntoIterator<Item = &SiteEvent>) -> Result<Ingested, WriteError> {
        self.ingest_once(events, &[], &[]).await
    }

    /// The same for a batch that holds events under keys, or of ordered sources, or both: the claims and the new positions are stored with
    /// the events in one transaction. A key and an hour of a site may stand in the claims only once, and so may a source in the steps, which
    /// come ascending by site and name. Without an event only the positions move.
    pub async fn ingest_once(
        &mut self,
        events: impl IntoIterator<Item = &SiteEvent>,
        claims: &[Claim],
        steps: &[SourceStep],
    ) -> Result<Ingested, WriteError> {
        let events: Vec<&SiteEvent> = events.into_iter().collect();
        let (claims, sources) = (ClaimColumns::of(claims), SourceColumns::of(steps));
        let mut attempts = 1;
        loop {
            let row = self.registration.row(&self.store).await.map_err(WriteError::NotStored)?;
            let call = IngestCall {
                writer: row.id,
                after: row.last_batch(),
                number: row.next_number(),
                columns: Columns::of(events.iter().copied(), &row.known()),
                claims: &claims,
                sources: &sources,
            };
            let number = call.number;
            let failed = match attempt(&self.store, async |session| call.send(session).await).await {
                Ok(Ingested::Stored) if events.is_empty() => return Ok(Ingested::Stored),
                Ok(Ingested::Stored) => {
                    row.known().add(call.columns.seen());
                    row.stands_at(number, events.len() as u64);
                    return Ok(Ingested::Stored);
                }
                Ok(not_stored) => return Ok(not_stored),
                Err(failed) => failed,
            };
            let cause = self.registration.after(number, Vec::new(), failed)?;
            if attempts == MAX_ATTEMPTS {
                return Err(WriteError::NotStored(cause));
            }
            attempts += 1;
        }
    }

    /// Proves, by a commit of its own that leaves nothing behind, that an event of the current hour could be stored now. An error is one that an event
    /// would have met.
    pub async fn prove(&mut self) -> Result<(), StoreError> {
        let mut attempts = 1;
        loop {
            let row = self.registration.row(&self.store).await?;
            let number = row.next_number();
            match rehearse(&self.store, row.id, row.last_batch(), number).await {
                Ok(()) => {
                    row.is_proven(number);
                    return Ok(());
                }
                Err(Attempt::NotRegistered(_)) if attempts < MAX_ATTEMPTS => self.registration.begin_anew(),
                // It may still be under way, and holds the row.
                Err(Attempt::FateUnknown(cause @ (StoreError::TimedOut(_) | StoreError::Unreachable(_)))) => {
                    self.registration.begin_anew();
                    return Err(cause);
                }
                // It does not matter whether it was committed: it holds nothing, and if it was, the row stands elsewhere, which the next attempt is told.
                Err(failed) => return Err(failed.into_cause()),
            }
            attempts += 1;
        }
    }

    /// Whether it has a row, which tells of a loss.
    pub fn is_registered(&self) -> bool {
        self.registration.is_registered()
    }

    /// Ends the writer, so that nothing can be stored in its name any more, and returns what the database lost of what it stored. The settler tidies its
    /// row up.
    pub async fn retire(self) -> Result<Option<Loss>, StoreError> {
        match self.registration.into_acknowledged() {
            Some(acknowledged) => acknowledged.missing(&self.store).await,
            None => Ok(None),
        }
    }
}

/// Goes through the storing of an event of now, by this machine's clock, without storing it: see `functions/rehearse.sql`.
async fn rehearse(store: &Store, writer: i64, after: i64, number: i64) -> Result<(), Attempt> {
    attempt(store, async |session| {
        let prepared = session.prepare_cached("select analytics.rehearse($1, $2, $3, $4)").await;
        let statement = prepared.map_err(SendError::Preparing)?;
        session.query(&statement, &[&writer, &after, &number, &Utc::now()]).await.map_err(SendError::Sent)
    })
    .await
    .map(drop)
}
