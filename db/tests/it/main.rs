//! The store and its functions on real databases, each test on one of its own.

#![allow(clippy::unwrap_used)]

/// Makes two tests of each function, on the flavours whose server tells logins apart.
macro_rules! with_logins {
    ($($name:ident),+ $(,)?) => {
        mod with_logins {
            mod postgres {
                $(#[tokio::test] async fn $name() { super::super::$name(db::Flavour::Postgres).await; })+
            }
            mod timescale {
                $(#[tokio::test] async fn $name() {
                    if crate::support::has_logins(db::Flavour::Timescale) {
                        super::super::$name(db::Flavour::Timescale).await;
                    } else {
                        eprintln!("SKIPPED: TEST_TIMESCALE_URL names no server that tells logins apart");
                    }
                })+
            }
        }
    };
}

mod access_tokens;
mod audit;
mod clock_steps;
mod columnstore;
mod counts_never_fall;
mod documented;
mod embedded;
mod extension_schema;
mod faults;
mod forgetting;
mod functions;
mod given_up_calls;
mod held_snapshots;
mod hour_life;
mod ingest;
mod ingest_once;
mod known_visitors;
mod logins;
mod new_days;
mod objects;
mod ordinary_owner;
mod partitions;
mod pipeline;
mod pooler;
mod random_interleavings;
mod reports;
mod retention;
mod roles;
mod schema;
mod several_hosts;
mod shards;
mod sites;
mod sources;
mod support;
mod tls;
mod unique_users;
mod webassembly;
mod writer;
