//! The settings: `table` has each of them once; `sources` gathers what the command line (`command`), the environment (`environment`)
//! and the file (`file`) say; `checked` makes the one [`Config`] of it, or says everything that is wrong; `show` is `analyticsd config`.

mod checked;
mod command;
mod environment;
mod fault;
mod file;
mod nearest;
mod setting;
mod show;
mod sources;
mod table;
mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap_complete::Shell;
use db::embedded::EmbeddedOptions;
use tracing_subscriber::EnvFilter;

pub use command::{Invocation, command};
pub use show::ShowFormat;
pub use sources::Settings;

use crate::{request_limits::RequestLimits, server::Limits};

/// What the daemon was called to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Serve until it is asked to stop.
    Serve,
    /// Show the settings.
    ShowConfig(ShowFormat),
    /// Ask the daemon of these settings whether it is ready.
    Healthcheck,
    /// Print what completes the command line in a shell.
    Completions(Shell),
    /// Write manual pages into a folder.
    Man(PathBuf),
}

/// Everything that the daemon needs to know, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to serve HTTP.
    pub listen: SocketAddr,
    /// Where the database is.
    pub database: Database,
    /// Whether to migrate before serving.
    pub migrate: bool,
    /// Where to serve `/metrics`, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// Where to keep events while the database is away, if anywhere.
    pub spool: Option<SpoolConfig>,
    /// How long an hour must be quiet before it is settled.
    pub settle_after: Duration,
    /// How many threads serve requests, from 1 to 1,024.
    pub worker_threads: usize,
    /// Limits of the public listener's connections.
    pub limits: Limits,
    /// Limits of what a request may bring.
    pub requests: RequestLimits,
    /// What to log, and how.
    pub log: LogConfig,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Database {
    /// A server that somebody else runs.
    Url(String),
    /// A private one.
    Embedded(EmbeddedOptions),
}

/// The outage spool.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// Its folder.
    pub dir: PathBuf,
    /// How many bytes of requests it may hold.
    pub max_bytes: u64,
}

/// The log.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A filter of tracing-subscriber, checked.
    pub filter: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogConfig {
    /// What to log.
    pub fn filter(&self) -> EnvFilter {
        // The driver writes what it sends, users' names among it, to whoever asks for everything. It takes asking for it by its name.
        EnvFilter::new(format!("tokio_postgres=info,{}", self.filter))
    }
}

#[cfg(test)]
mod tests;
