use super::{Counter, label::label};

label! {
    /// Why a connection ended without an answer. These connections reached no route, so no request counts them.
    pub(crate) enum Broken {
        /// The client did not send HTTP/1. It gets 400, if it sent anything.
        Malformed = "malformed",
        /// The head or the target is too long. The client gets 431 or 414.
        TooLarge = "too_large",
        /// No complete head came in time.
        Timeout = "timeout",
        /// The client hung up within a head.
        Incomplete = "incomplete",
        /// The network failed, the client reset the connection, or no answer could be given.
        Other = "other",
    }
}

impl Broken {
    fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::TooLarge
        } else if error.is_parse() {
            Self::Malformed
        } else if error.is_timeout() {
            Self::Timeout
        } else if error.is_incomplete_message() {
            Self::Incomplete
        } else {
            Self::Other
        }
    }
}

/// The broken connections of a listener, by reason.
#[derive(Default)]
pub(crate) struct BrokenConnections([Counter; Broken::ALL.len()]);

impl BrokenConnections {
    /// Counts a connection that ended with this error.
    pub(crate) fn count(&self, error: &hyper::Error) {
        self.0[Broken::of(error) as usize].add(1);
    }

    /// Each reason with its number.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, f64)> {
        Broken::ALL.map(Broken::name).into_iter().zip(self.0.iter().map(Counter::get))
    }
}
