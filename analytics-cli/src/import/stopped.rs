use std::{error::Error, fmt, io};

use event_files::ReadError;

use super::batch::Batch;
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
    /// The lines of this file whose events are not known to be stored, in order. All others before the last of them are.
    pub(crate) gaps: Vec<Gap>,
    /// Whether every line has a key, so that sending it again counts nothing twice.
    pub(crate) can_repeat: bool,
}

/// Lines whose events are not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    first: u64,
    /// None if all lines to the end of the file are meant.
    last: Option<u64>,
    /// Whether they may be stored, as opposed to certainly not being.
    unknown: bool,
}

impl Gap {
    /// Of a batch that was not acknowledged.
    pub(crate) fn of(batch: &Batch, error: &ServerError) -> Self {
        Self {
            first: batch.lines().first().copied().unwrap_or(1),
            last: batch.lines().last().copied(),
            unknown: error.leaves_fate_unknown(),
        }
    }

    /// Of everything from a line on, which was not sent.
    pub(crate) fn unsent(first: u64) -> Self {
        Self { first, last: None, unknown: false }
    }

    /// The same without what lies between neighbours of one kind: batches in order have no event between them.
    pub(crate) fn joined(gaps: Vec<Self>) -> Vec<Self> {
        gaps.into_iter().fold(Vec::new(), |mut joined: Vec<Self>, gap| {
            match joined.last_mut() {
                // Two requests of unknown fate have a fate each.
                Some(before)
                    if !before.unknown && !gap.unknown && before.last.is_some_and(|last| last + 1 == gap.first) =>
                {
                    before.last = gap.last;
                }
                _ => joined.push(gap),
            }
            joined
        })
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last: None, .. } => write!(f, "line {first} and all after it"),
            Self { first, last: Some(last), .. } if first == last => write!(f, "line {first}"),
            Self { first, last: Some(last), .. } => write!(f, "lines {first} to {last}"),
        }
    }
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
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

impl Stopped {
    /// Whether the server refused, as opposed to something being in the way.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(&self.cause, Cause::Server { error, .. } if error.is_refusal())
    }

    /// Whether another line was stored under the key of one of these.
    fn is_conflict(&self) -> bool {
        matches!(&self.cause, Cause::Server { error: ServerError::Refused { problem, .. }, .. } if problem.status == 409)
    }
}

impl Error for Stopped {}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, source, files_left, acknowledged, gaps, can_repeat } = self;
        writeln!(f, "the import stopped in {source}: {cause}")?;
        writeln!(f, "{acknowledged} events were acknowledged and are stored.")?;
        let missing: Vec<String> = gaps.iter().filter(|gap| !gap.unknown).map(Gap::to_string).collect();
        let unknown: Vec<String> = gaps.iter().filter(|gap| gap.unknown).map(Gap::to_string).collect();
        if !missing.is_empty() {
            writeln!(f, "Not stored of {source}: {}.", missing.join("; "))?;
        }
        if !unknown.is_empty() {
            writeln!(f, "Not known of {source}, each all or nothing: {}.", unknown.join("; "))?;
        }
        match files_left {
            0 => {}
            1 => writeln!(f, "Nothing of the file after it is stored.")?,
            more => writeln!(f, "Nothing of the {more} files after it is stored.")?,
        }
        let first = gaps.iter().map(|gap| gap.first).min().unwrap_or(1);
        if self.is_conflict() {
            write!(
                f,
                "A file that begins like this one was imported before, and this line was another one there. If this is another file, give it a \
                 name of its own with --id NAME; a file must not change where it was imported, and may only grow."
            )
        } else if *can_repeat {
            write!(
                f,
                "Give the same command again to go on: what is stored is not counted twice. With --from-line {first} it begins there."
            )
        } else if unknown.is_empty() {
            write!(f, "Mend the cause, then import what is missing; --from-line {first} begins there.")
        } else {
            write!(f, "Look with `analytics-cli query` whether these hours count them before you send them again.")
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
            Self::Interrupted => f.write_str("it was interrupted"),
        }
    }
}
