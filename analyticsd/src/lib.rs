//! The daemon, as a library that `main.rs` calls: it parses the command line, and [`run()`] does the rest.
//!
//! A request comes in through `http`: the server accepts its connection, `auth` checks its credentials, the table
//! of routes finds its handler. An event goes on to `ingest`, which stores all waiting events in one commit; a query
//! goes on to `query`, which answers all waiting queries with one read. Events that come many at a time, in the body of a
//! batch or from a topic that `kafka` reads, are read by `batches` before. `settling` compares quiet hours with their
//! raw events, and records their counts for good. `telemetry` counts and logs for all of them, `process` deals with the
//! operating system, `app` puts the parts together from the `config`.

mod app;
mod auth;
mod batches;
pub mod config;
mod digest;
mod http;
mod ingest;
mod kafka;
mod process;
mod query;
mod settling;
mod telemetry;

pub use app::{is_of_settings, run};
pub use process::healthcheck;
pub use telemetry::output::Output;
