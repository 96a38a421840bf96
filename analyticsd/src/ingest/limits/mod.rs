//! Limits of a request that are settings.

pub(crate) mod age;
pub(crate) mod body_budget;

use std::time::Duration;

use age::AgeLimits;

#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    /// The longest that a client may take to send its batch.
    pub(crate) body_timeout: Duration,
    /// How far from now events may lie.
    pub(crate) ages: AgeLimits,
}
