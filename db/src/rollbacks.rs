//! Which errors prove that a statement that stores events was rolled back. Everything else leaves its fate open, and the database has to be asked.

use tokio_postgres::error::{DbError, SqlState};

/// How the codes begin that the schema's own functions raise. PostgreSQL and the SQL standard give no code in this class.
const OWN_CLASS: &str = "AN";

/// Codes that PostgreSQL raises only before the commit, and each for its reason: where they come, no fence could be written that tells what became
/// of the statement. To be an entry here it is not enough that a code is raised before the commit as a rule. From the moment on at which a commit
/// is written to the log PostgreSQL turns every error into a PANIC (`RecordTransactionCommit` in its `xact.c`), so one of these as an ERROR came before it.
const PROVEN: &[(SqlState, &str)] = &[
    (
        SqlState::READ_ONLY_SQL_TRANSACTION,
        "raised before a statement writes anything, and nothing can be written while it is raised, a fence neither",
    ),
    (
        SqlState::DISK_FULL,
        "raised where a table, an index or a temporary file grows; a full disk under the log of writes is a PANIC. A fence needs room as well",
    ),
    (
        SqlState::INSUFFICIENT_PRIVILEGE,
        "raised when a statement is looked at and before it runs; who lost the right to store has lost the right to fence too",
    ),
    (
        SqlState::UNDEFINED_FUNCTION,
        "raised when a statement is looked at and before it runs; where the schema is gone its fence is gone too",
    ),
];

/// Whether one of the schema's own functions raised it, which says itself what it means.
pub(crate) fn is_own(error: &DbError) -> bool {
    is_error(error) && error.code().code().starts_with(OWN_CLASS)
}

/// Whether it proves that the statement was rolled back, provided that the session goes on after it.
pub(crate) fn is_proof(error: &DbError) -> bool {
    is_error(error) && PROVEN.iter().any(|(code, _)| code == error.code())
}

/// FATAL and PANIC end the session, which may be right after the commit. A server that does not say in its own language how severe an error is, is
/// none that we know.
fn is_error(error: &DbError) -> bool {
    error.parsed_severity() == Some(tokio_postgres::error::Severity::Error)
}
