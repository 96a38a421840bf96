pub(crate) mod audit_report;
pub(crate) mod comparison;
pub(crate) mod hour_format;
pub(crate) mod metric;
pub(crate) mod palette;
pub(crate) mod plot;
pub(crate) mod report_format;
pub(crate) mod table;

use std::io::{self, Write};

use crate::{
    failure::Failure,
    output::palette::{self, Palette},
};

/// Writes data to standard output.
pub(crate) fn print(data: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(data.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Writes data to standard output. A reader that has seen enough is no reason to stop.
pub(crate) fn print_while_read(data: &str) -> Result<(), Failure> {
    match print(data) {
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// The colours of standard output.
pub(crate) fn palette() -> Palette {
    Palette::of(&io::stdout())
}

/// Tells on standard error what went wrong.
pub(crate) fn error(text: &str) {
    let prefix = Palette::of(&io::stderr()).paint(palette::ERROR, "error:");
    talk(&format!("{prefix} {text}"));
}

/// Tells on standard error what deserves a look.
pub(crate) fn warn(text: &str) {
    let prefix = Palette::of(&io::stderr()).paint(palette::WARNING, "warning:");
    talk(&format!("{prefix} {text}"));
}

/// Writes a line for people to standard error. If nobody can read it, that is no reason to stop.
pub(crate) fn talk(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
