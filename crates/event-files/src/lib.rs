//! Reads files of events, for all that import or replay them: `lines` cuts a file into lines of bounded length, `records` turns
//! lines into events, with `csv` and `combined` for the formats that need more than a function.

mod combined;
mod csv;
mod lines;
mod records;

pub use combined::{InvalidSite, NoLogLine, Site};
pub use csv::{InvalidHeader, NoRow};
pub use lines::MAX_LINE_BYTES;
pub use records::{Content, ReadError, Record, Records, Unreadable};

/// How files are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// The lines of a batch.
    Ndjson,
    /// Columns with a header.
    Csv,
    /// An access log, with the hosts whose pages lead to clicks.
    Combined(Vec<Site>),
}
