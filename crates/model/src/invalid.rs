use thiserror::Error;

/// A value that the contract does not accept: which parameter, what was wrong with it, and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{parameter} {fault}; accepted is {accepted}")]
pub struct InvalidInput {
    /// The parameter's name as the client writes it: `timestamp`, `user`, `event`, `id` or `idempotency-key`.
    pub parameter: &'static str,
    /// What was wrong, as the rest of a sentence that begins with the parameter's name.
    pub fault: String,
    /// What would have been right, as a noun phrase.
    pub accepted: &'static str,
}
