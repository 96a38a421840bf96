use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{SourcePosition, SourceStanding};

/// The answer of `GET /analytics/sources`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceList {
    /// Ascending by name.
    pub sources: Vec<ListedSource>,
    /// False if there are more.
    #[serde(rename = "whole")]
    pub is_whole: bool,
}

/// A source, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedSource {
    pub name: String,
    /// Everything before it is stored.
    pub position: u64,
    /// The check of the content up to there, in hexadecimal, if the sender makes checks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub check: Option<String>,
    /// Where parts end that some shards of the counter have already, ascending: the next parts must end there too. Not there if
    /// there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts_end_at: Vec<u64>,
}

impl ListedSource {
    pub fn new(name: String, SourceStanding { at, parts_end_at }: SourceStanding) -> Self {
        Self { name, position: at.position, check: at.check.map(|check| check.to_string()), parts_end_at }
    }

    /// Where it stands; none if the check is not one.
    pub fn stands_at(&self) -> Option<SourcePosition> {
        let check = self.check.as_deref().map(str::parse).transpose().ok()?;
        Some(SourcePosition { position: self.position, check })
    }
}
