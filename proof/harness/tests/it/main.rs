//! What holds for the tree as a whole, beside the programs.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod documents;
#[cfg(feature = "kafka")]
mod kafka;
