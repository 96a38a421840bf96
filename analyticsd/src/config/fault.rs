//! Faults of settings, one line each.

use std::fmt;

use super::{definition::Wrong, given::Source};

/// Where a fault is.
#[derive(Debug)]
enum Place {
    Source(Source),
    Together(String),
}

/// One fault.
#[derive(Debug)]
pub(super) struct Fault {
    place: Place,
    text: Option<String>,
    wrong: Wrong,
}

impl Fault {
    /// A fault of one source. The text must not be a secret's; in other texts passwords are masked.
    pub(super) fn new(source: Source, text: Option<String>, wrong: Wrong) -> Self {
        Self { place: Place::Source(source), text, wrong }
    }

    /// A fault of several settings together.
    pub(super) fn together(settings: impl Into<String>, wrong: Wrong) -> Self {
        Self { place: Place::Together(settings.into()), text: None, wrong }
    }

    /// Its rank among others, by the order of the sources.
    pub(super) fn rank(&self) -> (u8, usize) {
        match &self.place {
            Place::Source(source) => source.rank(),
            Place::Together(_) => (u8::MAX, 0),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, text, wrong: Wrong { fault, accepted } } = self;
        match place {
            Place::Source(source) => write!(f, "{source}: ")?,
            Place::Together(settings) => write!(f, "{settings}: ")?,
        }
        if let Some(text) = text {
            // Quoted as in Rust, so that it is one line.
            write!(f, "{:?} ", db::mask_passwords_in(text))?;
        }
        write!(f, "{fault}; accepted is {accepted}")
    }
}
