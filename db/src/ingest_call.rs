//! The call by which a batch is stored, and what the database answers to it.

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use model::{Hour, SiteHour, SiteId};
use tokio_postgres::{Row, types::ToSql};

use crate::{
    Moved,
    attempt::SendError,
    claims::ClaimColumns,
    columns::Columns,
    connection::Session,
    sources::{SourceColumns, moved_in},
};

const INGEST: &str = "select settled, settled_sites, expired, expired_sites, deleted \
     from analytics.ingest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const INGEST_ONCE: &str = "select settled, settled_sites, expired, expired_sites, deleted, repeated, conflicting, moved, positions, digests \
     from analytics.ingest_once($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
     $20, $21, $22, $23, $24)";
const ADVANCE_SOURCES: &str = "select moved, positions, digests from analytics.advance_sources($1, $2, $3, $4, $5, $6)";

/// What the database answered to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested {
    /// Every event is committed.
    Stored,
    /// Nothing is stored, because of these hours of sites.
    Blocked {
        /// Settled hours: to be opened with [`crate::Store::reopen`] first.
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

/// One call that stores a batch.
pub(crate) struct IngestCall<'a> {
    pub(crate) writer: i64,
    /// The number of the batch before it, which must be stored.
    pub(crate) after: i64,
    /// Its own.
    pub(crate) number: i64,
    pub(crate) columns: Columns<'a>,
    pub(crate) claims: &'a ClaimColumns<'a>,
    pub(crate) sources: &'a SourceColumns<'a>,
}

impl IngestCall<'_> {
    /// Whether there is anything for `ingest_once` to look at. What most events need is the leaner function.
    fn once(&self) -> bool {
        !self.sources.is_empty() || !self.claims.keys.is_empty()
    }

    /// Sends the call. Returns after the server is ready for the next statement, which is after the commit.
    pub(crate) async fn send(&self, session: &Session) -> Result<Ingested, SendError> {
        if self.columns.times.is_empty() {
            return self.advance(session).await;
        }
        let columns = &self.columns;
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
                [&self.claims.hours, self.claims.sites.as_sent(), &self.claims.keys, &self.claims.fingerprints];
            parameters.extend(claims);
            parameters.extend(self.sources.parameters());
        }
        let rows = call(session, if self.once() { INGEST_ONCE } else { INGEST }, &parameters).await?;
        Ok(self.answer(rows.first().expect("ingest has out parameters, so it returns one row")))
    }

    /// Only moves the sources.
    async fn advance(&self, session: &Session) -> Result<Ingested, SendError> {
        let rows = call(session, ADVANCE_SOURCES, &self.sources.parameters()).await?;
        Ok(stored_unless(rows.first().map(|row| moved_in(row, 0)).unwrap_or_default()))
    }

    fn answer(&self, row: &Row) -> Ingested {
        let (settled, expired, deleted) = (site_hours_in(row, 0), site_hours_in(row, 2), sites_in(row, 4));
        if !settled.is_empty() || !expired.is_empty() || !deleted.is_empty() {
            return Ingested::Blocked { settled, expired, deleted };
        }
        if !self.once() {
            return Ingested::Stored;
        }
        let (repeated, conflicting) = (self.claims.places_of(row.get(5)), self.claims.places_of(row.get(6)));
        if !repeated.is_empty() || !conflicting.is_empty() {
            return Ingested::Claimed { repeated, conflicting };
        }
        stored_unless(moved_in(row, 7))
    }
}

/// Prepares what a call may need, so that each is sent as soon as it is made.
pub(crate) async fn prepare(session: &Session) -> Result<(), SendError> {
    let all = [INGEST, INGEST_ONCE, ADVANCE_SOURCES].map(|statement| session.prepare_cached(statement));
    try_join_all(all).await.map(drop).map_err(SendError::Preparing)
}

async fn call(session: &Session, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, SendError> {
    let statement = session.prepare_cached(statement).await.map_err(SendError::Preparing)?;
    session.query(&statement, parameters).await.map_err(SendError::Sent)
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
