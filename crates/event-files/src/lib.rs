//! Reads files of events, to import or replay them.
//!
//! `lines` cuts a file into lines of bounded length, `records` turns lines into `record`s, with the help of `csv` and
//! `combined` for these formats.

mod combined;
mod csv;
mod lines;
mod record;
mod records;

pub use combined::{Host, InvalidHost};
pub use csv::InvalidHeader;
pub use record::{Content, Record, Unreadable};
pub use records::{ReadError, Records};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// The lines of a batch.
    Ndjson,
    /// Columns with a header.
    Csv,
    /// An access log, with the hosts whose pages lead to clicks.
    Combined(Vec<Host>),
}
