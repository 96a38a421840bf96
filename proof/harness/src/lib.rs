//! What tests and proofs of all crates share: databases of their own on real servers, and the real daemon as a process.
//!
//! A test makes a [`TestDatabase`] of a flavour: empty, migrated, and removed at the end of the test. The `postgres`
//! flavour runs on native PostgreSQL, the `timescale` flavour on TimescaleDB in WebAssembly, or on a native one:
//!
//! - `TEST_POSTGRES_URL` names a server to make the databases on, as its superuser; `with-database` starts one and
//!   sets it.
//!   Without it every test starts a server of its own, which is slower.
//! - `TEST_TIMESCALE_URL` names a native server that has TimescaleDB. Without it every test starts one in WebAssembly.
//!
//! A [`PrivateServer`] is for tests that change a server's settings, or crash it.

mod certificates;
mod daemon;
mod database;
#[cfg(feature = "kafka")]
mod kafka;
mod pooler;
mod printed_log;
mod private_server;
pub mod processes;
mod server_process;
mod settling;
mod shards;
mod slow_link;
mod stale_link;
mod tls_server;

pub use certificates::{Authority, Issued, Validity};
pub use daemon::{Daemon, program};
pub use database::{TIMESCALE_TEMPLATE, TestDatabase, embedded_options, make_timescale_template, server_dir};
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, Received, Sender, Topic};
pub use pooler::{PoolMode, Pooler};
pub use printed_log::PrintedLog;
pub use private_server::{APPLICATION_NAME, End, PrivateServer};
pub use processes::signal;
pub use server_process::{ServerProcess, bare_command};
pub use settling::settle;
pub use shards::{ShardServers, TestShards};
pub use slow_link::SlowLink;
pub use stale_link::StaleLink;
pub use tls_server::{TlsServer, loopback_address};

/// Makes a test of each named function for each flavour: `postgres::NAME` and `timescale::NAME`. The functions are
/// asynchronous and take a [`db::Flavour`].
#[macro_export]
macro_rules! on_both_flavours {
    ($($name:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(db::Flavour::Postgres).await; })+
        }
        mod timescale {
            $(#[tokio::test] async fn $name() { super::$name(db::Flavour::Timescale).await; })+
        }
    };
}
