use std::{io, process::ExitCode};

use db::{DatabaseUrlError, StoreError, roles, schema::SchemaError};
use thiserror::Error;

use crate::{
    import::Stopped,
    output,
    server::ServerError,
    settings::{ProfileError, Source},
};

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
    #[error("{error}{advice}", error = .0, advice = advise_on_server(.0))]
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
    /// The configuration file cannot be used, or lacks the profile that is asked for.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The database URL cannot be understood.
    #[error("{url_source}: {error}")]
    DatabaseUrl {
        /// Where it came from.
        url_source: Source,
        /// What is wrong with it.
        error: DatabaseUrlError,
    },
    /// The database did not do what was asked.
    #[error("{}; {advice}", .error.parts().0, advice = advise(.error, .url_source.as_ref()))]
    Store {
        /// What happened.
        error: StoreError,
        /// Where its URL came from, as far as that is known.
        url_source: Option<Source>,
    },
    /// The schema could not be read or migrated.
    #[error(transparent)]
    Schema(SchemaError),
    /// Something else was in the way; the text says what to do.
    #[error("{0}")]
    CannotRun(String),
    /// Standard output could not be written to.
    #[error("cannot write to standard output: {0}; redirect it to where there is room, and run the command again")]
    Output(#[source] io::Error),
}

impl Failure {
    /// Says where the URL of the database came from, for the advice on what to look at.
    pub(crate) fn on_database(self, source: Source) -> Self {
        match self {
            Self::Store { error, .. } => Self::Store { error, url_source: Some(source) },
            other => other,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store { error, url_source: None }
    }
}

impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Store(error) => error.into(),
            other => Self::Schema(other),
        }
    }
}

/// What to do about a server whose answer does not say it.
fn advise_on_server(error: &ServerError) -> &'static str {
    match error {
        ServerError::NoAnswer { .. } => "; try again, or let `analytics-cli doctor` look for the cause",
        ServerError::Refused { problem, .. } if problem.status >= 500 => {
            " Try again, or let `analytics-cli doctor` look for the cause."
        }
        ServerError::Refused { problem, .. } if problem.status == 401 => {
            " Give a token with --token, ANALYTICS_TOKEN, or as token of a profile; `analytics-cli token create` makes one."
        }
        // These say themselves what is accepted, or what to look at.
        ServerError::Refused { .. } | ServerError::Unreachable { .. } | ServerError::Foreign { .. } => "",
    }
}

/// What to do about a database that does not do what was asked.
pub(crate) fn advise(error: &StoreError, url_source: Option<&Source>) -> String {
    if let (_, Some(remedy)) = error.parts() {
        return remedy.to_owned();
    }
    let url = match url_source {
        Some(source @ Source::Profile { .. }) => format!("database_url of {source}"),
        _ => "--database-url (or DATABASE_URL)".to_owned(),
    };
    match error {
        StoreError::Unreachable(_) => format!("does the server run, and is {url} right?"),
        StoreError::NotAdmitted(_) => format!("is {url} right?"),
        StoreError::TimedOut(_) | StoreError::Cancelled(_) | StoreError::Stuck(_) => {
            "try again when it is less busy".to_owned()
        }
        StoreError::Forbidden(_) => {
            format!("migrating, repairing, forgetting and setting take a login in role {}", roles::OWNER)
        }
        StoreError::Refused(_) | StoreError::Inconsistent(_) => "`analytics-cli doctor` looks for the cause".to_owned(),
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
            output::error(&failure.to_string());
            let refused = match &failure {
                Failure::Server(error) | Failure::FateUnknown { error, .. } => error.is_refusal(),
                Failure::Stopped(stopped) => stopped.is_refusal(),
                _ => false,
            };
            ExitCode::from(if refused { 1 } else { 2 })
        }
    }
}
