//! The real daemon as a process, on real databases, each test with its own.

#![allow(clippy::unwrap_used)]

mod access_log;
mod bad_input;
mod batch;
mod contract;
mod idempotency;
mod lanes;
mod late_events;
mod lifecycle;
mod self_audit;
mod spool;
mod support;
