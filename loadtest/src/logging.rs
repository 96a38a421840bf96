//! Writes goose's log to standard error. Goose would write it to standard output, where the report belongs, with a
//! line for every request without an answer. The report counts these instead, and shows the first ones that differ.

use std::io::{self, Write};

use log::{Level, Log, Metadata, Record};

/// The module of goose that logs about requests.
const REQUESTS: &str = "goose::goose";

struct StandardError;

/// Must run before goose, which keeps a logger that is installed.
pub(crate) fn install() {
    let _ = log::set_logger(&StandardError);
}

/// Writes a line to standard error. If it cannot be written, the run goes on.
pub(crate) fn message(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && metadata.target() != REQUESTS
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            message(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}
