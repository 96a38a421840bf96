use std::{error::Error, fmt, io};

use event_files::ReadError;

use crate::server::ServerError;

/// An import that stopped on its way: why, and exactly what is stored.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// Why.
    pub(crate) cause: Cause,
    /// The file that was being read.
    pub(crate) source: String,
    /// How many files were still to come.
    pub(crate) files_left: usize,
    /// How many events the server acknowledged, of all files.
    pub(crate) acknowledged: u64,
    /// The first line of this file that is not known to be stored. Every event before it is.
    pub(crate) first_unsent: u64,
    /// The line of the last event that was in the failed request; none if no request failed.
    pub(crate) last_sent: Option<u64>,
}

/// Why an import stopped.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The server refused a batch or did not answer.
    Server {
        /// What happened.
        error: ServerError,
        /// The line of the file that the server found fault with, if it named one.
        line: Option<u64>,
    },
    /// The file cannot be read any further.
    Read(ReadError),
    /// The file of rejected lines cannot be written.
    Rejects(io::Error),
}

impl Stopped {
    /// Whether the server refused, as opposed to something being in the way.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(&self.cause, Cause::Server { error, .. } if error.is_refusal())
    }
}

impl Error for Stopped {}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, source, files_left, acknowledged, first_unsent, last_sent } = self;
        writeln!(f, "the import stopped in {source}: {cause}")?;
        writeln!(f, "{acknowledged} events were acknowledged and are stored.")?;
        let unknown = matches!(cause, Cause::Server { error, .. } if error.leaves_fate_unknown());
        match last_sent {
            Some(last) if unknown => {
                writeln!(
                    f,
                    "Whether the events of {source}, lines {first_unsent} to {last}, are stored is unknown: all of them are, \
                     or none."
                )?;
                write!(f, "Nothing after line {last} is stored")?;
            }
            _ => write!(f, "Nothing from {source}, line {first_unsent} on, is stored")?,
        }
        match files_left {
            0 => writeln!(f, ".")?,
            1 => writeln!(f, ", and nothing of the file after it.")?,
            more => writeln!(f, ", and nothing of the {more} files after it.")?,
        }
        if unknown {
            write!(f, "Look with `analytics-cli query` whether these hours count them before you send them again.")
        } else {
            write!(f, "Mend the cause, then import the rest, from line {first_unsent} on.")
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { error, line: Some(line) } => write!(f, "line {line} was not accepted: {error}"),
            Self::Server { error, line: None } => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Rejects(error) => write!(f, "cannot write to the --rejects file: {error}"),
        }
    }
}
