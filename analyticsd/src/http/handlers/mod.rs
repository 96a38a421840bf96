//! The handlers, one file for each.

pub(crate) mod get_counts;
pub(crate) mod get_docs;
pub(crate) mod get_file;
pub(crate) mod get_hours;
pub(crate) mod get_periods;
pub(crate) mod get_pixel;
pub(crate) mod get_sites;
pub(crate) mod get_sources;
pub(crate) mod get_stream;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod post_batch;
pub(crate) mod post_event;
