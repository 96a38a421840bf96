use std::io::{self, Write};

use crate::failure::Failure;

/// Writes data to standard output.
pub(crate) fn print(data: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(data.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Writes a line for people to standard error. If nobody can read it, that is no reason to stop.
pub(crate) fn talk(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
