//! Metrics and the log.

mod line_writer;
mod log_lines;
pub(crate) mod metrics;
pub(crate) mod outage;
pub(crate) mod output;
mod repeated_lines;
