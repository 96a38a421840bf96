use std::fmt;

use crate::{Hour, InvalidInput, Timestamp, UserName};

/// What a visitor did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The visitor clicked.
    Click,
    /// The visitor was shown something.
    Impression,
}

impl EventKind {
    /// The name of the parameter that carries a kind.
    pub const PARAMETER: &'static str = "event";
    /// What is accepted, for error messages and documentation.
    pub const ACCEPTED: &'static str = "click or impression, in lower case";

    /// Reads the word that a client wrote. Case matters.
    pub fn parse(word: &str) -> Result<Self, InvalidInput> {
        match word {
            "click" => Ok(Self::Click),
            "impression" => Ok(Self::Impression),
            _ => Err(InvalidInput {
                parameter: Self::PARAMETER,
                fault: if word.is_empty() { "is empty" } else { "is unknown" }.to_owned(),
                accepted: Self::ACCEPTED,
            }),
        }
    }

    /// The word that stands for this kind on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Impression => "impression",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that one visitor did at one instant. Two equal events are two events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// Who did it.
    pub user: UserName,
    /// What was done.
    pub kind: EventKind,
}

impl Event {
    /// The hour that counts this event.
    pub fn hour(&self) -> Hour {
        Hour::containing(self.at)
    }
}
