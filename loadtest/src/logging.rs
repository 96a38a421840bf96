//! Writes goose's log to standard error. Goose would write it to standard output, where the report belongs, with a
//! line for every request without an answer. The report counts these instead, and shows the first ones that differ.

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
};

use log::{Level, Log, Metadata, Record};

use crate::progress;

/// The module of goose that logs about requests.
const REQUESTS: &str = "goose::goose";

struct StandardError;

/// Must run before goose, which keeps a logger that is installed.
pub(crate) fn install() {
    let _ = log::set_logger(&StandardError);
}

/// Writes a line to standard error. If it cannot be written, the run goes on.
pub(crate) fn message(line: &str) {
    progress::clear();
    let _ = writeln!(io::stderr(), "{}", visible(line));
}

/// A text, such as a server's, in one line and without characters that a terminal obeys or that XML cannot hold.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => visible.extend(character.escape_default()),
            _ if character.is_control() => visible.extend(character.escape_default()),
            _ => visible.push(character),
        }
    }
    visible
}

/// Until it is dropped, what is printed to standard output goes to standard error: goose prints there how many users it
/// launched, where only the report belongs.
pub(crate) struct StandardOutputApart(OwnedFd);

impl StandardOutputApart {
    /// None if it cannot be done; the run goes on all the same.
    pub(crate) fn begin() -> Option<Self> {
        let output = nix::unistd::dup(io::stdout()).ok()?;
        nix::unistd::dup2_stdout(io::stderr()).ok()?;
        Some(Self(output))
    }
}

impl Drop for StandardOutputApart {
    fn drop(&mut self) {
        // What is printed without the end of a line waits in memory.
        let _ = io::stdout().flush();
        let _ = nix::unistd::dup2_stdout(&self.0);
    }
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
