//! Limits of what a request may bring, which are settings.

use std::time::Duration;

use crate::age_limits::AgeLimits;

/// Limits of what a request may bring.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// The longest that a client may take to send its batch.
    pub body_timeout: Duration,
    /// How far from now events may lie.
    pub ages: AgeLimits,
}
