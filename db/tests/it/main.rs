//! The store and its functions on real databases, each test on one of its own.

#![allow(clippy::unwrap_used)]

mod access_tokens;
mod audit;
mod clock_steps;
mod counts_never_fall;
mod documented;
mod embedded;
mod faults;
mod forgetting;
mod functions;
mod given_up_calls;
mod hour_life;
mod ingest;
mod ingest_once;
mod known_visitors;
mod logins;
mod new_days;
mod objects;
mod partitions;
mod pooler;
mod random_interleavings;
mod reports;
mod retention;
mod roles;
mod schema;
mod several_hosts;
mod support;
mod tls;
mod webassembly;
mod writer;
