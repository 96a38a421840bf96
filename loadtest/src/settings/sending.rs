use serde::Serialize;

use crate::traffic::Encoding;

#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Sending {
    /// Send every event and every batch under an idempotency key, as with --retries. A daemon of several databases takes
    /// batches only so, or from sources.
    #[arg(long)]
    pub(crate) keys: bool,

    /// How the bodies of batches are compressed.
    #[arg(long, default_value = "none", value_name = "ENCODING")]
    pub(crate) batch_encoding: Encoding,
}
