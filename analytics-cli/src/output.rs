use std::io::{self, Write};

use crate::failure::Failure;

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

/// Writes a line for people to standard error. If nobody can read it, that is no reason to stop.
pub(crate) fn talk(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
