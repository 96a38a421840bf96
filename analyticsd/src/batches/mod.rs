//! Events that come many at a time, one a line: the bodies of `POST /analytics/batch`, and the messages of a topic.

mod batch;
mod line;
mod visitor_names;

pub(crate) use batch::{Batch, Unfit};
pub(crate) use line::{LineEvent, LineFault, LineReader};
pub(crate) use visitor_names::VisitorNames;
