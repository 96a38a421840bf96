//! Reads files of events, to import or replay them.
//!
//! `plain` finds the text in a file, which may be `packed`, `detect` its format, `lines` cuts it into lines of bounded length, and `records`
//! turns lines into `record`s: of a batch, of `csv`, or of an `access_log`, whose lines collectors may have put a
//! `wrapping` around.

mod access_log;
mod csv;
mod detect;
mod format;
mod lines;
mod packed;
mod plain;
mod record;
mod records;
mod wrapping;

pub use access_log::{
    ASSET_ENDINGS, Host, InvalidHost, InvalidPattern, PageViewRules, PathPattern, Pattern, VisitorOf,
};
pub use csv::{InvalidHeader, is_csv_header};
pub use detect::UnknownContent;
pub use format::{Format, FormatChoice, LogFormat, UnknownFormat};
pub use plain::{NotText, text_of};
pub use record::{Content, LeftOut, Record, Unreadable};
pub use records::{ReadError, Reading, Records};
