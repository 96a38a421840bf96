use serde::{Deserialize, Serialize};

use crate::plan::Part;

/// The most memory of the daemon up to the end of a part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) after: Part,
    /// If /proc has it.
    pub(crate) peak_mib: Option<f64>,
}
