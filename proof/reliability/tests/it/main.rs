//! Every scenario, for some seconds, on a private PostgreSQL; and that the checks which they rest on can fail.

#![allow(clippy::unwrap_used)]

mod checks;
mod hour_under_attack;
mod rolling;
mod scenarios;
mod support;
