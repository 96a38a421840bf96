//! Every scenario, for some seconds, on a private PostgreSQL.

#![allow(clippy::unwrap_used)]

mod hour_under_attack;
mod scenarios;
mod support;
