use std::{io, process::ExitCode};

use client::ClientError;
use db::{Place, StoreError, roles, schema::SchemaError};
use thiserror::Error;

use crate::{
    output::{self, Unwritten},
    settings::{Named, ProfileError},
};

/// Why a command did not run to its end.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{error}{advice}", error = .0, advice = server_advice(.0))]
    Server(#[from] ClientError),
    #[error("{}{}; {advice}", shown(.place.as_ref()), .error.parts().0, advice = database_advice(.error, .named.as_deref()))]
    Store {
        error: StoreError,
        /// The database, where there are several.
        place: Option<Place>,
        /// The setting that names the database, as far as that is known.
        named: Option<Box<Named>>,
    },
    #[error("{}{error}", shown(.place.as_ref()))]
    Schema { error: SchemaError, place: Option<Place> },
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error("{0}; redirect it to where there is room, and run the command again")]
    Output(#[from] Unwritten),
    /// The server refused; the text holds the reason and what to do.
    #[error("{0}")]
    Refused(String),
    /// Any other cause; the text holds it and what to do.
    #[error("{0}")]
    CannotRun(String),
}

impl Failure {
    /// A request failed; the text says more than the error does.
    pub(crate) fn of_request(error: &ClientError, text: String) -> Self {
        if error.is_refusal() { Self::Refused(text) } else { Self::CannotRun(text) }
    }

    /// Adds the setting that names the databases, for the advice on what to correct.
    pub(crate) fn on_databases(self, named: Named) -> Self {
        match self {
            Self::Store { error, place, .. } => Self::Store { error, place, named: Some(Box::new(named)) },
            other => other,
        }
    }

    /// Adds which of the databases it is of.
    pub(crate) fn at(self, place: Place) -> Self {
        match self {
            Self::Store { error, named, .. } => Self::Store { error, place: Some(place), named },
            Self::Schema { error, .. } => Self::Schema { error, place: Some(place) },
            other => other,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store { error, place: None, named: None }
    }
}

impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Store(error) => error.into(),
            other => Self::Schema { error: other, place: None },
        }
    }
}

fn shown(place: Option<&Place>) -> String {
    place.map(ToString::to_string).unwrap_or_default()
}

/// What to do about a failed request, unless the error says it.
pub(crate) fn server_advice(error: &ClientError) -> &'static str {
    match error {
        ClientError::Unreachable { .. } => {
            "; is analyticsd running? Start it with `analyticsd --embedded`, or correct the address: \
             `analytics-cli config` shows where it comes from"
        }
        ClientError::Tls { .. } => {
            "; https:// is for a server with a certificate that this machine trusts and that names this host, as a proxy \
             in front of analyticsd has it; analyticsd itself speaks http://"
        }
        ClientError::Foreign { .. } => "; is the address right? `analytics-cli config` shows where it comes from",
        ClientError::NoAnswer { .. } => "; try again, or run `analytics-cli doctor` to find the cause",
        ClientError::Refused { problem, .. } if problem.status >= 500 => {
            " Try again, or run `analytics-cli doctor` to find the cause."
        }
        ClientError::Refused { problem, .. } if problem.status == 401 => {
            " Give it with --token, with ANALYTICS_TOKEN or in a profile."
        }
        ClientError::Plain { .. } | ClientError::Refused { .. } => "",
    }
}

/// What to do about an error of the database.
pub(crate) fn database_advice(error: &StoreError, named: Option<&Named>) -> String {
    if let (_, Some(remedy)) = error.parts() {
        return remedy.to_owned();
    }
    let url = named.cloned().unwrap_or_default();
    match error {
        StoreError::Unreachable(_) => format!("check that the server runs and that {url} is right"),
        StoreError::NotAdmitted(_) | StoreError::Misplaced(_) => format!("check {url}"),
        StoreError::TimedOut(_) | StoreError::Cancelled(_) | StoreError::Stuck(_) => {
            "try again when it is less busy".to_owned()
        }
        StoreError::NotReplicated => "do it again: what is there already stays as it is".to_owned(),
        StoreError::Forbidden(_) => {
            format!("this command needs a login in role {} or, without roles, the owner of the schema", roles::OWNER)
        }
        StoreError::Refused(_) | StoreError::Inconsistent(_) => {
            "run `analytics-cli doctor` to find the cause".to_owned()
        }
    }
}

/// The exit codes that `--help` documents. This alone reports what went wrong.
pub(crate) fn exit_code(outcome: Result<ExitCode, Failure>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        // The reader of standard output has seen enough, as `head` has.
        Err(Failure::Output(Unwritten(error))) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure.to_string());
            let refused = match &failure {
                Failure::Server(error) => error.is_refusal(),
                other => {
                    matches!(other, Failure::Refused(_) | Failure::Schema { error: SchemaError::Lacking { .. }, .. })
                }
            };
            ExitCode::from(if refused { 1 } else { 2 })
        }
    }
}
