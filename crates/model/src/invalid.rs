use thiserror::Error;

/// A value that the contract does not accept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{parameter} {fault}; accepted is {accepted}")]
pub struct InvalidInput {
    /// `timestamp`, `user`, `event`, `id` or `idempotency-key`.
    pub parameter: &'static str,
    /// The rest of a sentence that begins with the parameter's name.
    pub fault: String,
    /// A noun phrase.
    pub accepted: &'static str,
}
