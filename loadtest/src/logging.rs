//! What goose logs, on standard error. It would log on standard output, where the report belongs, with a line for every request that has
//! no answer; those are counted instead, and the first that differ are told at the end.

use std::io::{self, Write};

use log::{Level, Log, Metadata, Record};

/// The module of goose that logs about requests.
const REQUESTS: &str = "goose::goose";

struct StandardError;

/// Comes before goose, which leaves a logger that is there in its place.
pub(crate) fn install() {
    let _ = log::set_logger(&StandardError);
}

/// Writes a line for people to standard error. If nobody can read it, that is no reason to stop.
pub(crate) fn talk(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && metadata.target() != REQUESTS
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            talk(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}
