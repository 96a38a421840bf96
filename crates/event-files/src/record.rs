use model::{InvalidInput, TimeUnit, wire};
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
    LeftOut(LeftOut),
    Unreadable(Unreadable),
}

/// Why a line of an access log is not a page view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftOut {
    /// It is about something else than a request.
    NotARequest,
    /// Its method is not GET.
    Method,
    /// It was not answered by 2xx or 304.
    Status,
    /// It is for a part of a page, a file, or this counter.
    Asset,
    /// Its path is to be left out.
    Excluded,
    Bot,
}

impl LeftOut {
    /// In the order in which they are looked at.
    pub const ALL: [Self; 6] = [Self::NotARequest, Self::Method, Self::Status, Self::Asset, Self::Excluded, Self::Bot];

    /// A name for summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotARequest => "no_requests",
            Self::Method => "other_methods",
            Self::Status => "other_statuses",
            Self::Asset => "assets",
            Self::Excluded => "excluded",
            Self::Bot => "bots",
        }
    }
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
    #[error("is not a line of this access log: {0}")]
    LogLine(&'static str),
    #[error("was imported before it had its end, with --complete, and went on; what came then is not counted")]
    ImportedInPart,
    #[error("is only a part of a line: the container's runtime split it")]
    Partial,
    #[error(
        "names as its client {0:?}, which is neither an address nor a host; accepted is an IP address, with or without a port, or the name of a host"
    )]
    NoVisitor(String),
    #[error(
        "does not say for certain who its client is: {0}; --format vhost-combined or vhost-common says that a virtual host \
         stands in front, and --log-format says anything else"
    )]
    UnclearClient(&'static str),
    #[error(
        "comes from a trusted proxy, and does not say for certain who is behind it; --log-format says where the forwarded addresses are"
    )]
    OfProxy,
    #[error("names as its client {0:?}, which is no address; accepted with address+agent is an IP address")]
    NoAddress(String),
    #[error(
        "has a forwarded address, and whether a proxy or the client wrote it is not known; --trusted-proxies says which \
         networks your proxies are in, as 10.0.0.0/8, or 127.0.0.1 if there is none"
    )]
    Forwarded,
    /// The contract does not accept the value of a field.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
}

impl Unreadable {
    /// Whether the unit of its timestamp must be said before it can be read.
    pub fn is_of_unknown_unit(&self) -> bool {
        let (Self::Invalid(invalid) | Self::Ndjson(wire::InvalidLine::Invalid(invalid))) = self else { return false };
        TimeUnit::is_uncertain(invalid)
    }
}

impl<E: Into<Unreadable>> From<Result<wire::SentEvent, E>> for Content {
    fn from(read: Result<wire::SentEvent, E>) -> Self {
        read.map_or_else(|e| Self::Unreadable(e.into()), Self::Event)
    }
}
