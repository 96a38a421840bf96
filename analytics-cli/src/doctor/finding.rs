use std::fmt;

use serde::Serialize;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    /// The database that it is about, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<usize>,
    pub(crate) health: Health,
    pub(crate) seen: String,
    /// What to do next; none if nothing needs to be done.
    pub(crate) advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// The check could not be made.
    Skipped,
    Ok,
    /// It works, but should be looked at.
    Warning,
    /// It keeps something from working, or events from being safe.
    Problem,
}

impl Health {
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
    pub(crate) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, shard: None, health: Health::Ok, seen: seen.into(), advice: None }
    }

    pub(crate) fn warning(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, shard: None, health: Health::Warning, seen: seen.into(), advice: Some(advice.into()) }
    }

    pub(crate) fn problem(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, shard: None, health: Health::Problem, seen: seen.into(), advice: Some(advice.into()) }
    }

    pub(crate) fn skipped(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, shard: None, health: Health::Skipped, seen: seen.into(), advice: Some(advice.into()) }
    }
}
