//! One file for each thing that a client can ask for. Those that stand in the OpenAPI document are found there by the path of their module.

pub(crate) mod get_counts;
mod get_docs;
mod get_file;
pub(crate) mod get_hours;
pub(crate) mod get_pixel;
pub(crate) mod get_stream;
pub(crate) mod health;
mod metrics;
pub(crate) mod post_batch;
pub(crate) mod post_event;

pub(crate) use get_counts::get_counts;
pub(crate) use get_docs::{OPENAPI_PATH, get_docs};
pub(crate) use get_file::get_file;
pub(crate) use get_hours::get_hours;
pub(crate) use get_pixel::get_pixel;
pub(crate) use get_stream::get_stream;
pub(crate) use health::{healthz, readyz};
pub(crate) use metrics::metrics;
pub(crate) use post_batch::post_batch;
pub(crate) use post_event::post_event;

/// The longest query string, in bytes. A user of 256 bytes takes 768 when every byte is percent-encoded; the rest is for
/// parameters that are ignored.
pub(crate) const MAX_QUERY_BYTES: usize = 8 * 1024;
