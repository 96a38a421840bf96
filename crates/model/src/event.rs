use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Hour, InvalidInput, Timestamp, UserName};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    Click,
    Impression,
}

impl EventKind {
    pub const PARAMETER: &'static str = "event";
    pub const ACCEPTED: &'static str = "click or impression, in lower case";

    /// Case matters.
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

/// Two equal events are two events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    pub at: Timestamp,
    pub user: UserName,
    pub kind: EventKind,
}

impl Event {
    pub fn hour(&self) -> Hour {
        Hour::containing(self.at)
    }
}
