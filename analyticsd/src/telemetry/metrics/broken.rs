use super::{Counter, label::label};

label! {
    /// Why a connection ended otherwise than after an answer. What is told here reached no route, so that no request counts it.
    pub(crate) enum Broken {
        /// What came is no request of HTTP/1; answered 400, if anything had come.
        Malformed = "malformed",
        /// A head or a target too long; answered 431 or 414.
        TooLarge = "too_large",
        /// No whole head came in time.
        Timeout = "timeout",
        /// The client left within a head.
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

/// How many connections of a listener ended so, by reason.
#[derive(Default)]
pub(crate) struct BrokenConnections([Counter; Broken::ALL.len()]);

impl BrokenConnections {
    /// One ended with this error.
    pub(crate) fn count(&self, error: &hyper::Error) {
        self.0[Broken::of(error) as usize].add(1);
    }

    /// Each reason with its number.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, f64)> {
        Broken::ALL.map(Broken::name).into_iter().zip(self.0.iter().map(Counter::get))
    }
}
