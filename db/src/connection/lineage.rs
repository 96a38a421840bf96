//! Tells a database that goes on from one that was left behind: which cluster a server holds, and on which timeline it writes. A standby that takes over
//! begins a new timeline; a primary that was cut off meanwhile, and lets clients in, is still on the old one.

use std::sync::{Mutex, PoisonError};

use thiserror::Error;
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

/// A standby writes on none. What the login may not call, or the server does not have, tells nothing, and keeps nobody out. It is asked before anything is
/// set on the session, and so by a login whose statements may hardly last.
const WHERE_IT_WRITES: &str = "set local statement_timeout = 0; select pg_catalog.pg_is_in_recovery(), (select system_identifier from pg_catalog.pg_control_system()), \
     case when not pg_catalog.pg_is_in_recovery() then pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) end";
/// What every login may ask.
const WHETHER_IT_WRITES: &str = "set local statement_timeout = 0; select pg_catalog.pg_is_in_recovery()";

/// The newest that was seen, and how often another server had taken over until then.
#[derive(Debug, Default)]
pub(super) struct Lineage(Mutex<(Option<Seen>, Takeovers)>);

/// How many servers had taken over when a connection was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Takeovers(u64);

/// The server that answered may have been left behind: what it says that it committed the other one need not have.
#[derive(Debug, Error)]
#[error("another server has taken over meanwhile from the one that answered")]
pub(crate) struct TakenOver;

/// A cluster, and where it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    cluster: String,
    timeline: u32,
}

/// A server that was left behind.
#[derive(Debug, Error)]
#[error(
    "{place} is a primary that another one has taken over from (its timeline is {found}, that of the other {known}): what it stores would be lost; end it, \
     or make it a standby (pg_rewind); where you restored it on purpose, restart this program"
)]
pub(crate) struct LineageError {
    place: String,
    found: u32,
    known: u32,
}

impl Lineage {
    /// How many servers had taken over until now.
    pub(super) fn takeovers(&self) -> Takeovers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// The same, with a server that was found, which may be the one that takes over; an error for one that was left behind.
    pub(super) fn check(&self, found: Option<Seen>, place: &str) -> Result<Takeovers, LineageError> {
        let (newest, takeovers) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = found else { return Ok(*takeovers) };
        match newest.replace(found.clone()) {
            Some(known) if known.cluster == found.cluster && known.timeline > found.timeline => {
                let error = LineageError { place: place.to_owned(), found: found.timeline, known: known.timeline };
                *newest = Some(known);
                Err(error)
            }
            Some(known) if known != found => {
                if known.cluster == found.cluster {
                    tracing::warn!("{place} has taken over as the primary: its timeline is {}", found.timeline);
                } else {
                    // Whoever restores a backup, or moves, does this on purpose. What it lost is found by the rows of writers.
                    tracing::warn!("{place} holds another database cluster than the one that answered before");
                }
                takeovers.0 += 1;
                Ok(*takeovers)
            }
            _ => Ok(*takeovers),
        }
    }
}

/// What a server says of itself.
pub(super) enum Role {
    /// What it shows may be older than what was acknowledged.
    Standby,
    /// None where it does not say where it writes, as where the login may not ask.
    Primary(Option<Seen>),
}

pub(super) async fn role(client: &Client) -> Result<Role, tokio_postgres::Error> {
    let answer = match client.simple_query(WHERE_IT_WRITES).await {
        Err(error) if error.as_db_error().is_some() && error.code() != Some(&SqlState::QUERY_CANCELED) => {
            client.simple_query(WHETHER_IT_WRITES).await?
        }
        answer => answer?,
    };
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(row) = row else { return Ok(Role::Primary(None)) };
    if row.get(0) == Some("t") {
        return Ok(Role::Standby);
    }
    let seen = (row.len() > 1).then(|| row.get(1).zip(row.get(2))).flatten().and_then(|(cluster, timeline)| {
        Some(Seen { cluster: cluster.to_owned(), timeline: u32::from_str_radix(timeline, 16).ok()? })
    });
    Ok(Role::Primary(seen))
}
