use std::error::Error;

use tokio_postgres::error::SqlState;

use crate::{StoreError, describe, tls_faults};

/// A fault that is known by what the server says of it: what is wrong, and what to do.
pub(crate) struct Diagnosis {
    what: &'static str,
    remedy: &'static str,
}

/// Says what an error of the database means, once: the fault, what the server said, and what to do where that is known; else what was tried and what
/// it came to.
pub(crate) fn explain(tried: &str, error: &(dyn Error + 'static)) -> String {
    match Diagnosis::of(error) {
        Some(Diagnosis { remedy, .. }) => format!("{}; {remedy}", seen(tried, error)),
        None => seen(tried, error),
    }
}

fn seen(tried: &str, error: &(dyn Error + 'static)) -> String {
    match Diagnosis::of(error) {
        // Its hints are replaced by what is to be done here.
        Some(Diagnosis { what, .. }) => match said(error) {
            Some(said) => format!("{what} ({}: {})", said.severity(), said.message()),
            None => tls_faults::fault_in(error).map_or_else(|| what.to_owned(), |fault| format!("{what} ({fault})")),
        },
        None => format!("{tried}: {}", describe(error)),
    }
}

/// The error as the server gave it, without those that drivers put around it.
fn said<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a tokio_postgres::error::DbError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(said) = error.downcast_ref() {
            return Some(said);
        }
        cause = error.source();
    }
    None
}

impl Diagnosis {
    fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let Some(said) = said(error) else { return Self::of_driver(error) };
        let (what, remedy) = match *said.code() {
            SqlState::READ_ONLY_SQL_TRANSACTION => (
                "the database is read-only",
                "name the primary if this is a standby, else set default_transaction_read_only = off for the database and its logins",
            ),
            SqlState::DISK_FULL => ("the disk of the database is full", "make room on it"),
            SqlState::OUT_OF_MEMORY => ("the server is out of memory", "give it more, or less to do"),
            SqlState::TOO_MANY_CONNECTIONS => (
                "the server has no connection left",
                "end some of other programs, or raise max_connections: each daemon uses up to 20, and 16 more while commits hang",
            ),
            SqlState::INVALID_PASSWORD => (
                "the server does not accept the password",
                "give user and password that are right in the URL of the database",
            ),
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION if lacks_tls(said.message()) => (
                "the server does not let this login in from here without TLS",
                "if it may come in with TLS, ask for that in the URL of the database: sslmode=verify-full (with sslrootcert=FILE for an authority of your own)",
            ),
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION if said.message().contains("no pg_hba.conf entry") => (
                "the server does not let this login in from here",
                "have a line for the login, the database and this machine's address written into pg_hba.conf",
            ),
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION if said.message().contains("client certificate") => (
                "the server asks for a certificate of this program's",
                "name one that an authority of the server's ssl_ca_file signed, with sslcert=FILE and sslkey=FILE in the URL of the database",
            ),
            SqlState::INVALID_CATALOG_NAME => {
                ("there is no such database", "make it with `create database`, or name another in the URL")
            }
            // It has no code of its own.
            _ if said.message().contains("must be preloaded") => (
                "TimescaleDB is installed, and the server does not load it",
                "set shared_preload_libraries = 'timescaledb' in postgresql.conf, and restart the server",
            ),
            _ => return None,
        };
        Some(Self { what, remedy })
    }
}

impl Diagnosis {
    /// What is known before the server says anything.
    fn of_driver(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some((what, remedy)) = tls_faults::fault_in(error).and_then(tls_faults::explain) {
            return Some(Self { what, remedy });
        }
        // The driver has no types for these.
        let text = describe(error);
        let (what, remedy) = if text.contains("password missing") {
            (
                "the server asks for a password, and none was given",
                "write it into the URL of the database: postgres://USER:PASSWORD@HOST/DATABASE",
            )
        } else if text.contains("server does not support TLS") {
            (
                "the server speaks no TLS, or is no PostgreSQL, and the URL of the database asks for TLS",
                "look whether host and port are the database's; if so, let it speak TLS (ssl = on in postgresql.conf, with ssl_cert_file and \
                 ssl_key_file), or, on a network that you trust, ask for sslmode=disable",
            )
        } else if text.contains("channel binding") {
            (
                "the server cannot prove that the TLS connection ends with it, as channel_binding=require asks",
                "let it check passwords as scram-sha-256, with nothing between that takes TLS apart, or leave channel_binding out",
            )
        } else if text.contains("does not allow writes") {
            (
                "the server is a standby, or read-only, and one that takes writes is looked for",
                "name the primary, or all hosts of which one may be it",
            )
        } else {
            return None;
        };
        Some(Self { what, remedy })
    }
}

/// A socket has no TLS.
fn lacks_tls(message: &str) -> bool {
    message.contains("no encryption") && !message.contains("\"[local]\"")
}

impl StoreError {
    /// Whether a server said so: one that does not let anybody in, or takes too long, is not away.
    pub fn was_said(&self) -> bool {
        self.below().is_some_and(|error| said(error).is_some())
    }

    /// What is wrong, and what to do about it where that is known. The two together are what it says when it is written out.
    pub fn parts(&self) -> (String, Option<&'static str>) {
        let diagnosis = self.below().and_then(Diagnosis::of);
        let told = self.to_string();
        match diagnosis {
            Some(Diagnosis { remedy, .. }) => (
                told.strip_suffix(remedy).and_then(|seen| seen.strip_suffix("; ")).unwrap_or(&told).to_owned(),
                Some(remedy),
            ),
            None => (told, None),
        }
    }

    /// What the driver made of it.
    fn below(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable(error) => Some(error.as_ref()),
            Self::NotAdmitted(error) | Self::Cancelled(error) | Self::Forbidden(error) | Self::Refused(error) => {
                Some(error)
            }
            Self::Misplaced(_) | Self::TimedOut(_) | Self::Stuck(_) | Self::NotReplicated | Self::Inconsistent(_) => {
                None
            }
        }
    }
}
