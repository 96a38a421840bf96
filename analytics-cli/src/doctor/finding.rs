use std::fmt;

use serde::Serialize;

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: &'static str,
    /// How it is.
    pub(crate) health: Health,
    /// What was seen.
    pub(crate) seen: String,
    /// What to do next; none if nothing needs to be done.
    pub(crate) advice: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// It could not be looked at.
    Skipped,
    /// As it should be.
    Ok,
    /// It works, and deserves a look.
    Warning,
    /// It keeps something from working, or events from being safe.
    Problem,
}

impl Health {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Finding {
    /// It is as it should be.
    pub(crate) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, health: Health::Ok, seen: seen.into(), advice: None }
    }

    /// It works, and deserves a look.
    pub(crate) fn warning(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, health: Health::Warning, seen: seen.into(), advice: Some(advice.into()) }
    }

    /// It does not work.
    pub(crate) fn problem(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, health: Health::Problem, seen: seen.into(), advice: Some(advice.into()) }
    }

    /// It could not be looked at.
    pub(crate) fn skipped(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, health: Health::Skipped, seen: seen.into(), advice: Some(advice.into()) }
    }
}
