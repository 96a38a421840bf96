use std::{io, process::ExitCode};

use db::{DatabaseUrlError, StoreError, schema::SchemaError};
use thiserror::Error;

use crate::{import::Stopped, output, server::ServerError};

/// What a command that ran to its end has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything is as it should be: exit code 0.
    Yes,
    /// The command did what was asked, and the answer is no: exit code 1.
    No,
}

/// Why a command did not run to its end.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The server refused or did not answer.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server may have stored what was sent, or not.
    #[error("{error}; {advice}")]
    FateUnknown {
        /// What became of the request.
        error: ServerError,
        /// How to find out.
        advice: String,
    },
    /// An import stopped on its way.
    #[error(transparent)]
    Stopped(#[from] Box<Stopped>),
    /// The database URL cannot be understood.
    #[error(transparent)]
    DatabaseUrl(#[from] DatabaseUrlError),
    /// The database did not do what was asked.
    #[error("{problem}{advice}", problem = .0, advice = advise(.0))]
    Store(#[from] StoreError),
    /// The schema could not be read or migrated.
    #[error(transparent)]
    Schema(SchemaError),
    /// Something else was in the way; the text says what to do.
    #[error("{0}")]
    CannotRun(String),
    /// Standard output could not be written to.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Store(error) => Self::Store(error),
            other => Self::Schema(other),
        }
    }
}

fn advise(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unreachable(_) => "; does the server run, and is --database-url (or DATABASE_URL) right?",
        StoreError::NotAdmitted(_) => "; is --database-url (or DATABASE_URL) right?",
        StoreError::TimedOut(_) => "; try again when it is less busy",
        StoreError::Refused(_) | StoreError::Inconsistent(_) => "",
    }
}

/// The exit codes that `--help` documents. What went wrong is told here, and nowhere else.
pub(crate) fn exit_code(outcome: Result<Verdict, Failure>) -> ExitCode {
    match outcome {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        // Whoever read our output has seen enough, as `head` does.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            output::talk(&format!("error: {failure}"));
            let refused = match &failure {
                Failure::Server(error) | Failure::FateUnknown { error, .. } => error.is_refusal(),
                Failure::Stopped(stopped) => stopped.is_refusal(),
                _ => false,
            };
            ExitCode::from(if refused { 1 } else { 2 })
        }
    }
}
