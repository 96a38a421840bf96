//! The text of a setting in one source.

use std::{fmt, path::PathBuf};

use super::{definition::Wrong, settings::Entry};

pub(super) struct Given {
    pub(super) entry: &'static Entry,
    pub(super) text: String,
    pub(super) source: Source,
    /// A fault of its form, found before the text is parsed.
    pub(super) wrong: Option<Wrong>,
}

/// The source of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A flag, without its dashes.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// A line of the file; without a key if the line has none.
    File { path: PathBuf, line: usize, key: String },
    /// The default.
    Default,
}

impl Source {
    /// Its rank: the strongest source first, and the file by its lines.
    pub(super) fn rank(&self) -> (u8, usize) {
        match self {
            Self::Flag(_) => (0, 0),
            Self::Variable(_) => (1, 0),
            Self::File { line, .. } => (2, *line),
            Self::Default => (3, 0),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line, key } if key.is_empty() => write!(f, "{}:{line}", path.display()),
            // The key may be a value in the wrong place.
            Self::File { path, line, key } => write!(f, "{}:{line} {}", path.display(), db::mask_passwords_in(key)),
            Self::Default => f.write_str("default"),
        }
    }
}
