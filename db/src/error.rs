use std::{error::Error, fmt::Write};

use deadpool::managed::PoolError;
use thiserror::Error;
use tokio_postgres::error::{Severity, SqlState};

use crate::{Misplaced, diagnosis::explain, rollbacks};

/// A call to the database that brought no answer. Nothing was changed by it, except where a method says otherwise. What it says has all its causes in it,
/// so it names none besides, which would be told twice.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No connection could be had, or it broke. Worth trying again.
    #[error("{}", explain("the database cannot be reached", .0.as_ref()))]
    Unreachable(Box<dyn Error + Send + Sync>),
    /// The server answers, and lets nobody in: a wrong password, a database that is not there or takes no connections.
    #[error("{}", explain("the database refuses the connection", .0))]
    NotAdmitted(tokio_postgres::Error),
    /// The database is not the one that the settings mean. Worth trying again, as an address may lead to the right one later.
    #[error(transparent)]
    Misplaced(Box<Misplaced>),
    /// No answer within the time that the caller allowed. Worth trying again.
    #[error("the database did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// The server ended the statement, which took longer than its session allows: mostly it waited for a lock that somebody holds. Or somebody
    /// cancelled it by hand. The server itself is well. Worth trying again.
    #[error("{}", explain("the database gave up a statement", .0))]
    Cancelled(tokio_postgres::Error),
    /// Too many calls that were given up are still under way in the database, so that no other is begun. Worth trying again.
    #[error(
        "{0} calls that were given up are still under way in the database, as commits are that wait for a synchronous standby; \
         `select pid, wait_event, state, query from pg_stat_activity` shows what they wait for"
    )]
    Stuck(usize),
    /// It is committed, and the server gave up waiting for the synchronous standby: somebody cancelled the wait. If that standby takes over before it
    /// has the commit, it is gone. Worth trying again.
    #[error(
        "the database committed without its synchronous standby, since somebody cancelled the wait for it; \
         it counts as stored once a later commit has reached the standby"
    )]
    NotReplicated,
    /// The database holds what the schema's functions never write.
    #[error("the database is inconsistent: {0}")]
    Inconsistent(&'static str),
    /// The login may not do this. Trying again gives the same unless somebody gives it the right.
    #[error("{}", explain("the database does not let this login do that", .0))]
    Forbidden(tokio_postgres::Error),
    /// The database answered with an error. Trying again gives the same unless something else changes.
    #[error("{}", explain("the database refused", .0))]
    Refused(tokio_postgres::Error),
}

impl StoreError {
    /// An error of a session that could not be opened, or prepared.
    pub(crate) fn of_new_session(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Forbidden(error),
            Some(code) if !is_connection_lost(code) => Self::NotAdmitted(error),
            _ => Self::Unreachable(Box::new(error)),
        }
    }

    /// The errors of all addresses of a database. Of those of one host, what says what is wrong says more than that another address did not answer.
    pub(crate) fn of_addresses(mut failed: Vec<(String, Self)>, is_one_host: bool) -> Self {
        let telling = failed.iter().position(|(_, error)| is_one_host && error.parts().1.is_some());
        match telling.or((failed.len() == 1).then_some(0)) {
            Some(place) => failed.swap_remove(place).1,
            None => Self::Unreachable(Box::new(NoAddress(failed))),
        }
    }

    /// Whether the database is away, or there but unable to store anything: the same may well succeed once it is back. False where it
    /// answered that it does not accept this one call.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Misplaced(_)
            | Self::TimedOut(_)
            | Self::NotAdmitted(_)
            | Self::Cancelled(_)
            | Self::Stuck(_)
            | Self::NotReplicated => true,
            Self::Inconsistent(_) | Self::Forbidden(_) => false,
            // Classes 53 (out of resources, a full disk among them), 57 (operator intervention) and 58 (system error), see
            // PostgreSQL's appendix A; and a server that is a standby now.
            Self::Refused(error) => error.code().is_some_and(|code| {
                ["53", "57", "58"].iter().any(|class| code.code().starts_with(class))
                    || *code == SqlState::READ_ONLY_SQL_TRANSACTION
            }),
        }
    }

    /// Whether what the database holds is damaged, as by a broken disk: what lies elsewhere can be read. Class XX of
    /// PostgreSQL's appendix A, without its internal errors.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Refused(error) if matches!(error.code(), Some(&SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED)))
    }

    /// Whether the database kept silent for longer than it may.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }

    /// The code that the server answered with, see PostgreSQL's appendix A.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(error) | Self::Forbidden(error) | Self::Cancelled(error) | Self::NotAdmitted(error) => {
                error.code().map(SqlState::code)
            }
            Self::Unreachable(_)
            | Self::Misplaced(_)
            | Self::TimedOut(_)
            | Self::Stuck(_)
            | Self::NotReplicated
            | Self::Inconsistent(_) => None,
        }
    }

    /// Whether the session that it came from is not to be trusted any more: one that was open while the extension was updated, or while the database
    /// was read-only, goes on failing when others do not. False for what the schema's own functions raise, and for damage, which every session finds.
    pub(crate) fn is_of_session(&self) -> bool {
        match self {
            _ if self.is_damage() => false,
            Self::Refused(error) | Self::Forbidden(error) | Self::Cancelled(error) => {
                !error.as_db_error().is_some_and(rollbacks::is_own)
            }
            Self::Unreachable(_) | Self::Misplaced(_) | Self::NotAdmitted(_) | Self::TimedOut(_) => true,
            Self::Stuck(_) | Self::NotReplicated | Self::Inconsistent(_) => false,
        }
    }

    /// Whether the other sessions that were open at the time may be as bad as the one that it came from.
    pub(crate) fn is_of_all_sessions(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Forbidden(_) => self.is_of_session(),
            // What ended the session was no operator and no limit, but what the session had become: TimescaleDB ends those that have the library of
            // another version.
            Self::Unreachable(error) => error
                .downcast_ref::<tokio_postgres::Error>()
                .and_then(tokio_postgres::Error::code)
                .is_some_and(|code| !is_connection_lost(code)),
            _ => false,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        if error
            .as_db_error()
            .is_some_and(|error| matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic)))
        {
            return Self::Unreachable(Box::new(error));
        }
        match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Forbidden(error),
            Some(&SqlState::QUERY_CANCELED) => Self::Cancelled(error),
            Some(code) if !is_connection_lost(code) => Self::Refused(error),
            _ => Self::Unreachable(Box::new(error)),
        }
    }
}

impl From<PoolError<Self>> for StoreError {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Backend(error) => error,
            other => Self::Unreachable(Box::new(other)),
        }
    }
}

/// Why none of several addresses could be connected to.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(|(place, error)| at(place, error)).collect::<Vec<_>>().join("; "))]
struct NoAddress(Vec<(String, StoreError)>);

fn at(place: &str, error: &StoreError) -> String {
    let text = error.to_string();
    format!("at {place}, {}", text.strip_prefix("the database cannot be reached: ").unwrap_or(&text))
}

/// Whether the server said with this code that it ended the session, or is not able to hold one now.
/// Classes 08 (connection exceptions), 53 (out of resources) and 57 (operator intervention), see PostgreSQL's appendix A.
pub(crate) fn is_connection_lost(code: &SqlState) -> bool {
    let code = code.code();
    code.starts_with("08") || code.starts_with("57") || code == SqlState::TOO_MANY_CONNECTIONS.code()
}

/// An error with all its causes in one line; the drivers keep what the server said in the causes.
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        cause = error.source();
    }
    text
}
