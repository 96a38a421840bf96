use chrono::{DateTime, Utc};
use model::{Hour, SiteEvent, SiteHour, SiteId, SourceStep};
use thiserror::Error;
use tokio_postgres::{Row, types::ToSql};

use crate::{
    Acknowledged, Claim, Loss, Moved, Store, StoreError, Undecided,
    attempt::{Attempt, SendError, attempt},
    claims::ClaimColumns,
    columns::Columns,
    connection::Session,
    known_visitors::KnownVisitors,
    losses::StoredBatches,
    sources::{SourceColumns, moved_in},
};

/// How often a batch is tried in a row that others store parts of at the same moment. Each time those parts are fewer.
const MAX_ATTEMPTS: usize = 8;

/// What the database answered to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested {
    /// Every event is committed.
    Stored,
    /// Nothing is stored, because of these hours of sites.
    Blocked {
        /// Settled hours: to be opened with [`Store::reopen`] first.
        settled: Vec<SiteHour>,
        /// Hours whose raw events are gone, so that no event can be added to them exactly, ever.
        expired: Vec<SiteHour>,
        /// Sites that are deleted.
        deleted: Vec<SiteId>,
    },
    /// Nothing is stored, because some of the claimed keys are there already. These are places in the claims given.
    Claimed {
        /// Stored earlier, for the same request: its events must be left out.
        repeated: Vec<usize>,
        /// Stored earlier, for another request.
        conflicting: Vec<usize>,
    },
    /// Nothing is stored, because these sources stand elsewhere than their steps believe.
    Moved(Vec<Moved>),
}

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

/// Stores batches of events, one at a time. Each has a row in `analytics.writers` that tells the fate of its last batch.
pub struct Writer {
    store: Store,
    registered: Option<Registered>,
    left: Option<Acknowledged>,
}

/// A row in `analytics.writers`, and what holds for as long as it stands where the writer left it.
struct Registered {
    id: i64,
    /// The number of the last attempt. None is given twice, whatever came of it: a batch that was called not stored, and is, could otherwise pass for the
    /// next one.
    last_number: i64,
    /// The number of the last stored batch.
    last_batch: i64,
    stored: StoredBatches,
    known: KnownVisitors,
}

impl Registered {
    async fn anew(store: &Store) -> Result<Self, StoreError> {
        let id = store.row("select analytics.register_writer()", &[]).await?.get(0);
        Ok(Self {
            id,
            last_number: 0,
            last_batch: 0,
            stored: StoredBatches::default(),
            known: KnownVisitors::default(),
        })
    }

    fn into_acknowledged(self) -> Acknowledged {
        Acknowledged { writer: self.id, stored: self.stored }
    }

    fn next_number(&mut self) -> i64 {
        self.last_number += 1;
        self.last_number
    }
}

impl Writer {
    /// A writer that registers itself with its first batch, and anew after one whose fate was not known.
    pub fn new(store: Store) -> Self {
        Self { store, registered: None, left: None }
    }

    /// The connections that it stores through.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What it stored by a row that it left since this was asked the last time: the database may have lost some of it.
    pub fn take_left(&mut self) -> Option<Acknowledged> {
        self.left.take()
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
            let row = registered(&self.store, &mut self.registered).await.map_err(WriteError::NotStored)?;
            let batch = Batch {
                writer: row.id,
                after: row.last_batch,
                number: row.next_number(),
                columns: Columns::of(events.iter().copied(), &row.known),
                claims: &claims,
                sources: &sources,
            };
            let number = batch.number;
            let failed = match batch.ingest(&self.store).await {
                Ok(Ingested::Stored) if events.is_empty() => return Ok(Ingested::Stored),
                Ok(Ingested::Stored) => {
                    row.last_batch = number;
                    row.stored.add(number, events.len() as u64);
                    row.known.add(batch.columns.seen());
                    return Ok(Ingested::Stored);
                }
                Ok(not_stored) => return Ok(not_stored),
                Err(failed) => failed,
            };
            let cause = self.after(number, failed)?;
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
            let row = registered(&self.store, &mut self.registered).await?;
            let number = row.next_number();
            match rehearse(&self.store, row.id, row.last_batch, number).await {
                Ok(()) => {
                    row.last_batch = number;
                    row.stored.stands();
                    return Ok(());
                }
                Err(Attempt::NotRegistered(_)) if attempts < MAX_ATTEMPTS => self.begin_anew(),
                // It may still be under way, and holds the row.
                Err(Attempt::FateUnknown(cause @ (StoreError::TimedOut(_) | StoreError::Unreachable(_)))) => {
                    self.begin_anew();
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
        self.registered.is_some()
    }

    /// What comes after an attempt that failed: why it may be made again, or what the caller is told.
    fn after(&mut self, number: i64, failed: Attempt) -> Result<StoreError, WriteError> {
        match failed {
            Attempt::NotSent(cause) | Attempt::Refused(cause) => Err(WriteError::NotStored(cause)),
            Attempt::StoredByAnother(cause) => Ok(cause),
            Attempt::NotRegistered(cause) => {
                self.begin_anew();
                Ok(cause)
            }
            Attempt::FateUnknown(cause) => Err(match self.registered.take() {
                Some(row) => WriteError::Undecided(Undecided { batch: number, before: row.into_acknowledged(), cause }),
                None => WriteError::NotStored(cause),
            }),
        }
    }

    /// Leaves a row that is gone, fenced or stands elsewhere, or that may be held.
    fn begin_anew(&mut self) {
        // One by which nothing was stored tells of no loss.
        if let Some(row) = self.registered.take().filter(|row| !row.stored.is_empty()) {
            self.left = Some(row.into_acknowledged());
        }
    }

    /// Ends the writer, so that nothing can be stored in its name any more, and returns what the database lost of what it stored. The settler tidies its
    /// row up.
    pub async fn retire(self) -> Result<Option<Loss>, StoreError> {
        match self.registered {
            Some(row) => row.into_acknowledged().missing(&self.store).await,
            None => Ok(None),
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

struct Batch<'a> {
    writer: i64,
    /// The number of the writer's last stored batch.
    after: i64,
    /// Its own.
    number: i64,
    columns: Columns<'a>,
    claims: &'a ClaimColumns<'a>,
    sources: &'a SourceColumns<'a>,
}

impl Batch<'_> {
    /// Whether there is anything for `ingest_once` to look at. What most events need is the leaner function.
    fn once(&self) -> bool {
        !self.sources.is_empty() || !self.claims.keys.is_empty()
    }

    async fn ingest(&self, store: &Store) -> Result<Ingested, Attempt> {
        if self.columns.times.is_empty() {
            return self.advance(store).await;
        }
        let rows = attempt(store, async |session| self.send(session).await).await?;
        let row = rows.first().expect("ingest has out parameters, so it returns one row");
        let (settled, expired, deleted) = (site_hours_in(row, 0), site_hours_in(row, 2), sites_in(row, 4));
        if !settled.is_empty() || !expired.is_empty() || !deleted.is_empty() {
            return Ok(Ingested::Blocked { settled, expired, deleted });
        }
        if !self.once() {
            return Ok(Ingested::Stored);
        }
        let (repeated, conflicting) = (self.claims.places_of(row.get(5)), self.claims.places_of(row.get(6)));
        if !repeated.is_empty() || !conflicting.is_empty() {
            return Ok(Ingested::Claimed { repeated, conflicting });
        }
        Ok(stored_unless(moved_in(row, 7)))
    }

    /// Only moves the sources.
    async fn advance(&self, store: &Store) -> Result<Ingested, Attempt> {
        let rows = attempt(store, async |session| {
            let advance = "select moved, positions, digests from analytics.advance_sources($1, $2, $3, $4, $5, $6)";
            let statement = session.prepare_cached(advance).await.map_err(SendError::Preparing)?;
            session.query(&statement, &self.sources.parameters()).await.map_err(SendError::Sent)
        })
        .await?;
        Ok(stored_unless(rows.first().map(|row| moved_in(row, 0)).unwrap_or_default()))
    }

    async fn send(&self, session: &Session) -> Result<Vec<Row>, SendError> {
        let columns = &self.columns;
        let prepared = session
            .prepare_cached(if self.once() {
                "select settled, settled_sites, expired, expired_sites, deleted, repeated, conflicting, moved, positions, digests \
                 from analytics.ingest_once(\
                 $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)"
            } else {
                "select settled, settled_sites, expired, expired_sites, deleted from analytics.ingest(\
                 $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
            })
            .await;
        let statement = prepared.map_err(SendError::Preparing)?;
        let claims = self.claims;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &self.writer,
            &self.after,
            &self.number,
            &columns.times,
            columns.sites.as_sent(),
            &columns.users,
            &columns.clicks,
            &columns.hours,
            columns.hour_sites.as_sent(),
            &columns.hour_clicks,
            &columns.hour_impressions,
            &columns.seen_hours,
            &columns.seen_users,
            columns.seen_sites.as_sent(),
        ];
        if self.once() {
            let claims: [&(dyn ToSql + Sync); 4] =
                [&claims.hours, claims.sites.as_sent(), &claims.keys, &claims.fingerprints];
            parameters.extend(claims);
            parameters.extend(self.sources.parameters());
        }
        // `query` returns after the server is ready for the next statement, which is after the commit.
        session.query(&statement, &parameters).await.map_err(SendError::Sent)
    }
}

fn stored_unless(moved: Vec<Moved>) -> Ingested {
    if moved.is_empty() { Ingested::Stored } else { Ingested::Moved(moved) }
}

/// Reads hours and, from the column behind, their sites.
fn site_hours_in(row: &Row, column: usize) -> Vec<SiteHour> {
    let starts: Option<Vec<DateTime<Utc>>> = row.get(column);
    let both = starts.unwrap_or_default().into_iter().zip(sites_in(row, column + 1));
    both.filter_map(|(start, site)| Some(SiteHour { hour: Hour::starting_at(start)?, site })).collect()
}

fn sites_in(row: &Row, column: usize) -> Vec<SiteId> {
    let sites: Option<Vec<i32>> = row.get(column);
    sites.unwrap_or_default().into_iter().filter_map(SiteId::new).collect()
}
