//! The settings. `settings` defines each of them once. `sources` collects them from the command line (`command`), the
//! environment (`environment`) and the file (`file`). `checked` makes a [`Config`] of them, or lists every fault.
//! `show` is `analyticsd config`.

mod checked;
mod command;
mod definition;
mod environment;
mod fault;
mod file;
mod given;
mod nearest;
mod settings;
mod show;
mod sources;
mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap_complete::Shell;
use db::{Depth, embedded::EmbeddedOptions};
use model::SiteName;

pub use command::{Invocation, command};
pub use show::ShowFormat;
pub use sources::Settings;

use crate::{
    auth::AccessConfig,
    http::{Limits, PublicPath},
    ingest::limits::RequestLimits,
    kafka::KafkaConfig,
    telemetry::output::LogConfig,
};

/// What the program was called to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Serve until it is asked to stop.
    Serve,
    /// Show the settings.
    ShowConfig(ShowFormat),
    /// Ask the daemon of these settings whether it is ready.
    Healthcheck,
    /// Print the completions of the command line for a shell.
    Completions(Shell),
    /// Write manual pages into a folder.
    Man(PathBuf),
}

/// The checked settings of the daemon.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to serve HTTP.
    pub(crate) listen: SocketAddr,
    /// Names of the operator's own for what web pages load, if any.
    pub(crate) public_path: Option<PublicPath>,
    /// Where the database is.
    pub(crate) database: Database,
    /// Whether to migrate before serving.
    pub(crate) migrate: bool,
    /// Where to serve `/metrics`, if anywhere.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// The spool for outages of the database, if any.
    pub(crate) spool: Option<SpoolConfig>,
    /// The topic that is read, if any.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "a setting of it is refused without the feature"))]
    pub(crate) kafka: Option<KafkaConfig>,
    /// How long an hour must be quiet before it is settled.
    pub(crate) settle_after: Duration,
    /// How many commits of a lane may be under way at a time.
    pub(crate) commit_depth: Depth,
    /// How many threads serve requests, from 1 to 1,024.
    pub worker_threads: usize,
    /// Access control and rate limits.
    pub(crate) access: AccessConfig,
    /// Limits of the public listener's connections.
    pub(crate) limits: Limits,
    /// Limits of a request.
    pub(crate) requests: RequestLimits,
    /// The sites that metrics show by name, at most 50.
    pub(crate) metrics_sites: Vec<SiteName>,
    /// The settings of the log.
    pub log: LogConfig,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// Those of the counter's shards, in their order, on servers that the operator runs.
    Urls(Vec<String>),
    /// A private one.
    Embedded(EmbeddedOptions),
}

/// The outage spool.
#[derive(Debug, Clone)]
pub(crate) struct SpoolConfig {
    /// Its folder.
    pub(crate) dir: PathBuf,
    /// How many bytes of requests it may hold.
    pub(crate) max_bytes: u64,
}

#[cfg(test)]
mod tests;
