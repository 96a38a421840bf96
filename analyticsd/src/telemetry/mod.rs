//! What the daemon says about itself: metrics and the log.

mod line_writer;
mod log_lines;
pub(crate) mod metrics;
pub(crate) mod outage;
pub(crate) mod output;
mod repeated_lines;
