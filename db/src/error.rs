use std::{error::Error, fmt::Write};

use deadpool_postgres::{HookError, PoolError};
use thiserror::Error;
use tokio_postgres::{
    Config,
    config::{ChannelBinding, SslMode},
    error::{Severity, SqlState},
};

use crate::{diagnosis::explain, has_password, rollbacks};

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
    /// Whether the database is away, or there but unable to store anything: the same may well succeed once it is back. False where it
    /// answered that it does not accept this one call.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) | Self::NotAdmitted(_) | Self::Cancelled(_) | Self::Stuck(_) => {
                true
            }
            Self::Inconsistent(_) | Self::Forbidden(_) => false,
            // Classes 53 (out of resources, a full disk among them), 57 (operator intervention) and 58 (system error), see
            // PostgreSQL's appendix A; and a server that is a standby now.
            Self::Refused(error) => error.code().is_some_and(|code| {
                ["53", "57", "58"].iter().any(|class| code.code().starts_with(class))
                    || *code == SqlState::READ_ONLY_SQL_TRANSACTION
            }),
        }
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
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Stuck(_) | Self::Inconsistent(_) => None,
        }
    }

    /// Whether the session that it came from is not to be trusted any more: one that was open while the extension was updated, or while the database
    /// was read-only, goes on failing when others do not. False for what the schema's own functions raise.
    pub(crate) fn is_of_session(&self) -> bool {
        match self {
            Self::Refused(error) | Self::Forbidden(error) | Self::Cancelled(error) => {
                !error.as_db_error().is_some_and(rollbacks::is_own)
            }
            Self::Unreachable(_) | Self::NotAdmitted(_) | Self::TimedOut(_) => true,
            Self::Stuck(_) | Self::Inconsistent(_) => false,
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

/// A database URL that cannot be understood.
#[derive(Debug, Error)]
#[error("the database URL is not valid: {fault}; expected is {}", Self::EXPECTED)]
pub struct DatabaseUrlError {
    fault: String,
}

impl DatabaseUrlError {
    /// What would be right.
    pub const EXPECTED: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE, \
                                with %40 for @, %2F for / and %3F for ? in the password";

    /// What is wrong with the URL, without its password.
    pub fn fault(&self) -> &str {
        &self.fault
    }

    /// The driver repeats the names of options that it does not know, which may be the rest of a password that had to be escaped.
    pub(crate) fn new(url: &str, error: &tokio_postgres::Error) -> Self {
        let fault = describe(error);
        Self { fault: if has_password(url) { fault.replace(quoted(&fault), "…") } else { fault } }
    }
}

/// Says what is wrong with a database URL, or a connection string, that no connection could be tried with.
pub fn check_database_url(url: &str) -> Result<(), DatabaseUrlError> {
    read_database_url(url).map(drop)
}

/// What a database URL says, unless it asks for what no connection could be made with.
pub(crate) fn read_database_url(url: &str) -> Result<Config, DatabaseUrlError> {
    let config: Config = url.parse().map_err(|error| DatabaseUrlError::new(url, &error))?;
    let asks_for = if config.get_ssl_mode() == SslMode::Require {
        "sslmode=require"
    } else if config.get_channel_binding() == ChannelBinding::Require {
        "channel_binding=require"
    } else {
        return Ok(config);
    };
    Err(DatabaseUrlError {
        fault: format!(
            "{asks_for} asks for TLS, which this program does not speak to a database: leave it out where the database is on this machine or a network \
             that you trust, else lay a tunnel that does, as by stunnel or ssh, and name its end here"
        ),
    })
}

/// What stands between the first two backticks.
fn quoted(text: &str) -> &str {
    text.split('`').nth(1).filter(|quoted| !quoted.is_empty()).unwrap_or("`")
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

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => match error.code() {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Forbidden(error),
                Some(code) if !is_connection_lost(code) => Self::NotAdmitted(error),
                _ => Self::Unreachable(Box::new(error)),
            },
            other => Self::Unreachable(Box::new(other)),
        }
    }
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

#[cfg(test)]
mod tests {
    use crate::{Store, StoreOptions};

    #[test]
    fn an_invalid_url_is_explained_without_showing_a_piece_of_its_password() {
        let fault = |url| Store::new(url, StoreOptions::default()).err().unwrap().to_string();
        assert!(fault("postgres://ann@h/db?colour=red").contains("`colour`"));
        assert!(!fault("postgres://ann:se@h/db?cret=x").contains("cret=x"));
        let broken = fault("postgres://ann:secret@h/db?tail=x");
        assert!(!broken.contains("tail") && broken.contains("expected is postgres://"), "{broken}");
    }

    #[test]
    fn a_url_that_asks_for_tls_is_refused_with_what_to_do() {
        for (url, asks_for) in [
            ("postgres://ann:secret@h/db?sslmode=require", "sslmode=require asks for TLS"),
            ("host=h sslmode=require", "sslmode=require asks for TLS"),
            ("postgres://h/db?channel_binding=require", "channel_binding=require asks for TLS"),
        ] {
            let fault = Store::new(url, StoreOptions::default()).err().unwrap().to_string();
            assert!(fault.contains(asks_for) && fault.contains("tunnel") && !fault.contains("secret"), "{fault}");
        }
        for mode in ["disable", "prefer"] {
            assert!(Store::new(&format!("postgres://h/db?sslmode={mode}"), StoreOptions::default()).is_ok(), "{mode}");
        }
    }
}
