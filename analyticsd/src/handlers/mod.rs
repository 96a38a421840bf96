//! One file for each thing that a client can ask for.

mod get_counts;
mod health;
mod metrics;
mod post_batch;
mod post_event;

pub(crate) use get_counts::get_counts;
pub(crate) use health::{healthz, readyz};
pub(crate) use metrics::metrics;
pub(crate) use post_batch::post_batch;
pub(crate) use post_event::post_event;

/// The longest query string, in bytes. A user of 256 bytes takes 768 when every byte is percent-encoded; the rest is for
/// parameters that are ignored.
pub(crate) const MAX_QUERY_BYTES: usize = 8 * 1024;
