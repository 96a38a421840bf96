use std::{fmt, io};

use super::{batch::Batch, fault::Fault};
use crate::failure::{Failure, server_advice};
use client::ClientError;
use event_files::ReadError;
use model::SourceName;

/// An import that stopped early: why, and exactly what is stored.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) cause: Cause,
    pub(crate) source: String,
    /// How many files follow this one.
    pub(crate) files_left: usize,
    /// Events of all files.
    pub(crate) acknowledged: u64,
    /// The lines of this file that may not be stored, in order. All other lines before the last of them are stored.
    pub(crate) gaps: Vec<Gap>,
    /// Whether every line has a key, so that a second import counts nothing twice.
    pub(crate) can_repeat: bool,
}

/// Lines that may not be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    first: u64,
    /// None: the end of the file.
    last: Option<u64>,
    /// Whether they may be stored; otherwise they are not.
    unknown: bool,
}

impl Gap {
    pub(crate) fn of(batch: &Batch, error: &ClientError) -> Self {
        Self {
            first: batch.lines().first().copied().unwrap_or(1),
            last: batch.lines().last().copied(),
            unknown: error.leaves_fate_unknown(),
        }
    }

    pub(crate) fn unsent(first: u64) -> Self {
        Self { first, last: None, unknown: false }
    }

    /// Joins neighbours that are not stored: there is no event between them.
    pub(crate) fn joined(gaps: Vec<Self>) -> Vec<Self> {
        gaps.into_iter().fold(Vec::new(), |mut joined: Vec<Self>, gap| {
            match joined.last_mut() {
                // Of two requests of unknown fate, each is stored as a whole or not at all.
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

#[derive(Debug)]
pub(crate) enum Cause {
    /// A batch failed. `line` is the line of the file that the server named, if any.
    Server {
        error: ClientError,
        line: Option<u64>,
    },
    /// It could not be read, or may not.
    Fault(Fault),
    /// The file of rejected lines cannot be written.
    Rejects(io::Error),
    Interrupted,
}

impl Stopped {
    /// Whether the server takes nothing that it could not be given again.
    fn has_to_be_a_source(&self) -> bool {
        let Cause::Server { error: ClientError::Refused { problem, .. }, .. } = &self.cause else { return false };
        problem.status == 400 && problem.parameter.as_deref() == Some(SourceName::PARAMETER)
    }

    /// What is to be done about another event under the key of a line, or about another program that sends the same source.
    fn advice_on_conflict(&self) -> Option<&'static str> {
        let Cause::Server { error: ClientError::Refused { problem, .. }, .. } = &self.cause else { return None };
        (problem.status == 409).then_some(match problem.position {
            None => "Another event was stored under the key of this line: correct the key, then run the same command again.",
            Some(_) => "Another program sends this file at the same time, or it changed while it was read. Run the same command again.",
        })
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        let text = stopped.to_string();
        match &stopped.cause {
            Cause::Server { error, .. } | Cause::Fault(Fault::Server(error)) => Self::of_request(error, text),
            Cause::Fault(_) | Cause::Rejects(_) | Cause::Interrupted => Self::CannotRun(text),
        }
    }
}

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
            writeln!(f, "Unknown of {source}, each stored as a whole or not at all: {}.", unknown.join("; "))?;
        }
        match files_left {
            0 => {}
            1 => writeln!(f, "Nothing of the file after it is stored.")?,
            more => writeln!(f, "Nothing of the {more} files after it is stored.")?,
        }
        let first = gaps.iter().map(|gap| gap.first).min().unwrap_or(1);
        if matches!(self.cause, Cause::Fault(Fault::Begun | Fault::Changed(_) | Fault::TooManyAlike)) {
            write!(f, "If it is to be counted as another file, give it a name of its own with --id NAME.")
        } else if matches!(self.cause, Cause::Fault(Fault::Read(ReadError::Header(_) | ReadError::Format(_)))) {
            f.write_str("Correct that, then run the command again.")
        } else if let Some(advice) = self.advice_on_conflict() {
            f.write_str(advice)
        } else if self.has_to_be_a_source() {
            f.write_str("Leave out --without-source: a counter of several databases takes a file as a source only, or lines that each have an id.")
        } else if *can_repeat {
            write!(f, "Run the same command again to continue: events that are stored are not counted twice.")
        } else if unknown.is_empty() {
            write!(f, "Correct the cause, then import the missing lines; --from-line {first} begins there.")
        } else {
            write!(f, "Check with `analytics-cli query` whether their hours count them before you send them again.")
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { error, line: Some(line) } => write!(f, "the server did not accept line {line}: {error}"),
            Self::Server { error, line: None } => write!(f, "{error}{}", server_advice(error)),
            Self::Fault(fault) => fault.fmt(f),
            Self::Rejects(error) => write!(f, "cannot write to the --rejects file: {error}"),
            Self::Interrupted => f.write_str("it was interrupted"),
        }
    }
}
