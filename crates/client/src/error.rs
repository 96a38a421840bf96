use std::{error::Error, io, time::Duration};

use model::Problem;
use reqwest::StatusCode;
use rustls::InvalidMessage;
use thiserror::Error;

use crate::ServerUrl;

#[derive(Debug, Error)]
pub enum ClientError {
    /// No connection could be opened, so nothing was sent.
    #[error("cannot reach {url}: {cause}")]
    Unreachable { url: ServerUrl, cause: String },
    /// There was a connection but no TLS on it, so nothing was sent.
    #[error("no TLS connection to {url}: {cause}")]
    Tls { url: ServerUrl, cause: String },
    /// There was a connection, and what answered does not speak TLS, so nothing was sent.
    #[error("no TLS connection to {url}: as it seems, the port speaks http; write {plain}", plain = url.without_tls())]
    Plain { url: ServerUrl },
    /// The connection broke, or the time limit passed, after something was sent.
    #[error("{url} did not answer the request: {cause}")]
    NoAnswer { url: ServerUrl, cause: String },
    /// analyticsd refused the request. It promises that nothing of the request is stored.
    #[error("the server refused with {}", describe_problem(problem))]
    Refused {
        problem: Box<Problem>,
        /// How long the server asks to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// An answer that analyticsd never gives: the address is wrong, or a proxy answered.
    #[error("{url} answered {status} with {excerpt:?}, which is no answer of analyticsd")]
    Foreign { url: ServerUrl, status: StatusCode, excerpt: String },
}

impl ClientError {
    /// Whether an answer arrived and was an error.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Foreign { status, .. } => status.is_client_error() || status.is_server_error(),
            Self::Unreachable { .. } | Self::Tls { .. } | Self::Plain { .. } | Self::NoAnswer { .. } => false,
        }
    }

    /// Whether what was sent may be stored all the same.
    pub fn leaves_fate_unknown(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Foreign { .. })
    }

    pub(crate) fn no_answer(url: &ServerUrl, error: reqwest::Error) -> Self {
        let (url, is_connect, of_tls) = (url.masked(), error.is_connect(), of_tls(&error).cloned());
        let cause = with_causes(&error.without_url());
        match of_tls {
            // The first byte of the answer begins nothing of TLS.
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::Plain { url },
            Some(_) if is_connect => Self::Tls { url, cause },
            None if is_connect => Self::Unreachable { url, cause },
            _ => Self::NoAnswer { url, cause },
        }
    }

    pub(crate) fn foreign(url: &ServerUrl, status: StatusCode, body: &str) -> Self {
        Self::Foreign { url: url.masked(), status, excerpt: body.chars().take(100).collect() }
    }
}

/// reqwest's own text leaves out the causes.
fn with_causes(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source()).map(ToString::to_string);
    causes.fold(error.to_string(), |text, cause| if text.contains(&cause) { text } else { format!("{text}: {cause}") })
}

/// Whether the server was reached, and does not speak TLS as it should.
pub fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    of_tls(error).is_some()
}

fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    // An error of input and output does not name the one within it as its source.
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error
        .downcast_ref()
        .or_else(|| within.and_then(|within| of_tls(within)))
        .or_else(|| error.source().and_then(|source| of_tls(source)))
}

fn describe_problem(problem: &Problem) -> String {
    let Problem { status, title, detail, accepted, .. } = problem;
    let story = format!("{status} ({title}): {detail}");
    match accepted {
        Some(accepted) if !detail.contains(accepted.as_str()) => format!("{story} Accepted is {accepted}."),
        _ => story,
    }
}

#[cfg(test)]
mod tests {
    use model::{InvalidInput, Problem};

    use super::describe_problem;

    #[test]
    fn a_refusal_names_once_what_is_accepted() {
        let invalid = InvalidInput { parameter: "user", fault: "is empty".to_owned(), accepted: "a name" };
        let full = Problem::invalid_parameter(&invalid);
        assert_eq!(describe_problem(&full), "400 (Invalid parameter): user is empty; accepted is a name.");
        let terse = Problem { detail: "user is empty.".to_owned(), ..full };
        assert_eq!(describe_problem(&terse), "400 (Invalid parameter): user is empty. Accepted is a name.");
    }
}
