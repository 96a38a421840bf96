//! One statement that stores something, and what its answer proves.

use std::time::Duration;

use tokio::time::timeout;

use crate::{Store, StoreError, connection::Session, rollbacks};

/// Says that the writer's row is gone or stands elsewhere: see `functions/ingest.sql`.
const NOT_REGISTERED: &str = "AN001";
/// Says that the batch before is not stored, for whoever sends batches ahead: see `functions/ingest.sql`. Where that one was answered as stored, the database
/// has gone back.
const BATCH_BEFORE_NOT_STORED: &str = "AN012";
/// Says that another transaction stored the same at the same moment: see `functions/ingest_once.sql`.
const STORED_AT_THE_SAME_MOMENT: &str = "AN006";

/// How long an attempt to see whether a session goes on may take.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// What a statement came to that stored nothing, or of which nobody knows whether it did.
pub(crate) enum Attempt {
    /// No statement reached the server.
    NotSent(StoreError),
    /// The server answered that it rolled back.
    Refused(StoreError),
    /// The server answered that this writer has no row, or one that stands elsewhere, and rolled back.
    NotRegistered(StoreError),
    /// The server answered that another transaction stored the same, and rolled back.
    StoredByAnother(StoreError),
    /// What came, if anything did, proves nothing.
    FateUnknown(StoreError),
}

impl Attempt {
    pub(crate) fn cause(&self) -> &StoreError {
        match self {
            Self::NotSent(cause)
            | Self::Refused(cause)
            | Self::NotRegistered(cause)
            | Self::StoredByAnother(cause)
            | Self::FateUnknown(cause) => cause,
        }
    }

    pub(crate) fn into_cause(self) -> StoreError {
        match self {
            Self::NotSent(cause)
            | Self::Refused(cause)
            | Self::NotRegistered(cause)
            | Self::StoredByAnother(cause)
            | Self::FateUnknown(cause) => cause,
        }
    }
}

/// What went wrong with a statement.
pub(crate) enum SendError {
    /// It could not be prepared, so that it was not sent.
    Preparing(tokio_postgres::Error),
    /// It was sent.
    Sent(tokio_postgres::Error),
}

/// Sends a statement on a connection of the pool. What `send` returns it must return after the server was ready for the next statement, which is after the
/// commit.
pub(crate) async fn attempt<T>(
    store: &Store,
    send: impl AsyncFnOnce(&Session) -> Result<T, SendError>,
) -> Result<T, Attempt> {
    let session = store.session().await.map_err(Attempt::NotSent)?;
    let limit = store.statement_limit();
    let Ok(answer) = timeout(limit, send(&session)).await else {
        return Err(Attempt::FateUnknown(StoreError::TimedOut(limit)));
    };
    let judged = judge(&session, answer).await;
    release(store, session, judged.as_ref().err());
    judged
}

/// What an answer proves. Before this returns, everything that was sent on the session before is answered too, unless it is broken.
pub(crate) async fn judge<T>(session: &Session, answer: Result<T, SendError>) -> Result<T, Attempt> {
    let error = match answer {
        Ok(value) => {
            session.still_current().map_err(Attempt::FateUnknown)?;
            // Once a later commit is replicated this one is too, since the log has it before: the fence is such a commit.
            return if session.skipped_standby() {
                Err(Attempt::FateUnknown(StoreError::NotReplicated))
            } else {
                Ok(value)
            };
        }
        Err(SendError::Preparing(error)) => return Err(Attempt::NotSent(error.into())),
        Err(SendError::Sent(error)) => error,
    };
    if let Some(own) = error.as_db_error().filter(|error| rollbacks::is_own(error)) {
        return Err(match own.code().code() {
            NOT_REGISTERED | BATCH_BEFORE_NOT_STORED => Attempt::NotRegistered(error.into()),
            STORED_AT_THE_SAME_MOMENT => Attempt::StoredByAnother(error.into()),
            _ => Attempt::Refused(error.into()),
        });
    }
    // An error behind which the connection ends may have come from whoever ended it.
    let is_proof = error.as_db_error().is_some_and(rollbacks::is_proof) && goes_on(session).await;
    Err(if is_proof { Attempt::Refused(error.into()) } else { Attempt::FateUnknown(error.into()) })
}

/// Gives a session back on which nothing is under way, or ends it, by what was found of it.
pub(crate) fn release(store: &Store, session: Session, failed: Option<&Attempt>) {
    // What it says of a commit that was answered otherwise is not to be taken for the next one's.
    session.skipped_standby();
    match failed.map(Attempt::cause) {
        None => session.go_back(),
        Some(error) => {
            session.go_back_after(error);
            store.distrust(error);
        }
    }
}

/// Whether the session takes another statement, an empty one.
async fn goes_on(session: &Session) -> bool {
    matches!(timeout(SIGN_OF_LIFE, session.batch_execute("")).await, Ok(Ok(())))
}
