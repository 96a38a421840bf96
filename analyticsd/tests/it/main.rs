//! The real daemon as a process, on real databases, each test with its own.

#![allow(clippy::unwrap_used)]

mod abuse;
mod access;
mod access_in_outage;
mod access_log;
mod age_limits;
mod backup;
mod bad_input;
mod batch;
mod contract;
mod cors;
mod document;
mod encrypted_database;
mod files;
mod fuzz;
mod healthcheck;
mod hours;
mod idempotency;
#[cfg(feature = "kafka")]
mod kafka;
mod lanes;
mod late_events;
mod least_privilege;
mod lifecycle;
mod limits;
mod logs;
mod metrics;
mod missing_events;
mod open_files;
mod openapi;
mod operations;
mod overload;
mod pages;
mod pixel;
mod poolers;
mod proxy;
mod public_path;
mod raw;
mod request_ids;
mod self_audit;
mod service_manager;
mod settings;
mod sites;
mod slow_clients;
mod slow_database;
mod small_disk;
mod sources;
mod spool;
mod spool_copies;
mod spool_disk_full;
mod storing;
mod stream;
mod support;
mod tokens;
mod unwritable_log;
