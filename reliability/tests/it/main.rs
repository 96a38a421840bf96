//! Every scenario, for some seconds, on a private PostgreSQL.

#![allow(clippy::unwrap_used)]

mod scenarios;
mod support;
