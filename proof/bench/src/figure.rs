use serde::{Deserialize, Serialize};

use crate::{numbers::median, plan::Part};

/// What a part found that is no rate, such as bytes or a share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) part: Part,
    pub(crate) name: String,
    pub(crate) unit: String,
    /// More is a broken promise.
    pub(crate) most: Option<f64>,
    pub(crate) rounds: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(part: Part, name: String, unit: &str, rounds: Vec<f64>) -> Self {
        Self { part, name, unit: unit.to_owned(), most: None, rounds }
    }

    pub(crate) fn at_most(self, most: f64) -> Self {
        Self { most: Some(most), ..self }
    }

    /// The median over the rounds; none if there is no round.
    pub(crate) fn value(&self) -> Option<f64> {
        median(self.rounds.clone())
    }
}
