use model::{InvalidInput, wire};
use thiserror::Error;

use crate::lines::MAX_LINE_BYTES;

/// One line, or a record of several lines.
#[derive(Debug)]
pub struct Record {
    /// The number of its first line, counted from 1.
    pub line: u64,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    /// With a key and a site, if the file has them.
    Event(wire::SentEvent),
    /// A request that is not a page view.
    NotAPageView,
    Unreadable(Unreadable),
}

#[derive(Debug, Error)]
pub enum Unreadable {
    #[error("is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    #[error(transparent)]
    Ndjson(#[from] wire::InvalidLine),
    #[error("has no column {0}, only {1} columns")]
    NoColumn(&'static str, usize),
    #[error("{0} is not UTF-8")]
    NotText(&'static str),
    #[error("opens a quote that is not closed up to line {last}; nothing of these lines was imported")]
    UnclosedQuote { last: u64 },
    #[error("is not a line of a combined access log: {0}")]
    LogLine(&'static str),
    /// The contract does not accept the value of a field.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
}

impl<E: Into<Unreadable>> From<Result<wire::SentEvent, E>> for Content {
    fn from(read: Result<wire::SentEvent, E>) -> Self {
        read.map_or_else(|e| Self::Unreadable(e.into()), Self::Event)
    }
}
