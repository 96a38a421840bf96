use std::{
    env,
    io::{self, Write},
};

use terminal_size::{Width, terminal_size_of};
use thiserror::Error;

use super::palette::{self, Palette};

/// In a narrower terminal lines are broken: nothing readable fits.
const NARROWEST: usize = 40;

#[derive(Debug, Error)]
#[error("cannot write to standard output: {0}")]
pub(crate) struct Unwritten(pub(crate) io::Error);

/// Writes data to standard output.
pub(crate) fn print(data: &str) -> Result<(), Unwritten> {
    let mut out = io::stdout().lock();
    out.write_all(data.as_bytes()).and_then(|()| out.flush()).map_err(Unwritten)
}

/// Writes data to standard output. A reader that has seen enough is no reason to stop.
pub(crate) fn print_while_read(data: &str) -> Result<(), Unwritten> {
    match print(data) {
        Err(Unwritten(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// The colours of standard output.
pub(crate) fn palette() -> Palette {
    Palette::of(&io::stdout())
}

/// How many characters fit beside each other on standard output. One that is not a terminal is as wide as `COLUMNS` says, or 80.
pub(crate) fn width() -> usize {
    let of_variable = || env::var("COLUMNS").ok()?.parse().ok();
    let width = terminal_size_of(io::stdout()).map(|(Width(width), _)| width.into()).or_else(of_variable);
    width.unwrap_or(80).max(NARROWEST)
}

pub(crate) fn error(text: &str) {
    let prefix = Palette::of(&io::stderr()).paint(palette::ERROR, "error:");
    message(&format!("{prefix} {text}"));
}

pub(crate) fn warn(text: &str) {
    let prefix = Palette::of(&io::stderr()).paint(palette::WARNING, "warning:");
    message(&format!("{prefix} {text}"));
}

/// Writes a line to standard error. If it cannot be written, the command goes on.
pub(crate) fn message(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
