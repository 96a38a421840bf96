use serde::{Deserialize, Serialize};

use crate::{measure::Contender, plan::Part};

/// The most memory of a daemon up to the end of a part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) after: Part,
    /// Of the present commit or of an earlier one.
    #[serde(default = "present")]
    pub(crate) of: Contender,
    /// If /proc has it.
    pub(crate) peak_mib: Option<f64>,
}

/// A run that was stored before others were measured says nothing of it.
fn present() -> Contender {
    Contender::Daemon
}
