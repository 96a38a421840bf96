use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::InvalidInput;

/// The body of every error answer: a problem document (RFC 9457, `application/problem+json`), with members of our own
/// that say where in the request the fault lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The status code, as in the status line.
    pub status: u16,
    /// The kind of problem in a few words; the same for every problem of that kind.
    pub title: String,
    /// What was wrong this time and what to do.
    pub detail: String,
    /// The parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parameter: Option<String>,
    /// What that parameter accepts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accepted: Option<String>,
    /// The line of the body at fault, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// Where the source of a batch stands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub position: Option<u64>,
    /// The check of the source's content up to there, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub check: Option<String>,
    /// Where parts of the source end that some shards of the counter have already, ascending: the next parts must end there too.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts_end_at: Vec<u64>,
}

impl Problem {
    /// The media type of a problem document.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem with nothing but its kind and its story.
    pub fn new(status: u16, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            status,
            title: title.into(),
            detail: detail.into(),
            parameter: None,
            accepted: None,
            line: None,
            position: None,
            check: None,
            parts_end_at: Vec::new(),
        }
    }

    /// The answer to a parameter that the contract does not accept.
    pub fn invalid_parameter(invalid: &InvalidInput) -> Self {
        Self {
            parameter: Some(invalid.parameter.to_owned()),
            accepted: Some(invalid.accepted.to_owned()),
            ..Self::new(400, "Invalid parameter", format!("{invalid}."))
        }
    }

    /// The same problem, found in a line of the body (counted from 1).
    #[must_use]
    pub fn at_line(self, line: u64) -> Self {
        Self { line: Some(line), detail: format!("Line {line}: {}", self.detail), ..self }
    }
}
