//! The command line, the environment behind it, and the one step that turns both into a checked [`Config`].

use std::{net::SocketAddr, num::NonZero, path::PathBuf, thread, time::Duration};

use clap::{
    Parser, ValueEnum,
    builder::{BoolishValueParser, RangedU64ValueParser},
};
use db::embedded::{EmbeddedKind, EmbeddedOptions};
use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// Records visitors' clicks and impressions, and answers for any hour with its exact unique users, clicks and impressions.
///
/// Every option can be given by the environment variable named beside it; the command line wins.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 after an orderly stop; 1 if it could not start or failed; 2 for a wrong command line."
)]
pub struct Args {
    /// The address and port to serve HTTP on; port 0 takes a free one, which is printed.
    #[arg(long, env = "ANALYTICSD_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,

    /// The database: postgres://USER:PASSWORD@HOST:PORT/DATABASE.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,

    /// Run a private trial database in DIR, which keeps its data between starts. Wins over --database-url.
    #[arg(
        long, env = "ANALYTICSD_EMBEDDED", value_name = "DIR", num_args = 0..=1, require_equals = true,
        default_missing_value = ".analytics"
    )]
    embedded: Option<PathBuf>,

    /// Which server runs the embedded database [default: the one whose data DIR holds, else native where it is installed,
    /// else wasm].
    #[arg(long, env = "ANALYTICSD_EMBEDDED_KIND", value_name = "KIND")]
    embedded_kind: Option<EmbeddedKindArg>,

    /// The folder of PostgreSQL's server binaries, for the native embedded database [default: looked for].
    #[arg(long, env = "ANALYTICSD_POSTGRES_BIN", value_name = "DIR")]
    postgres_bin: Option<PathBuf>,

    /// Bring the database to the schema of this version before serving. The embedded database is always brought to it.
    #[arg(long, env = "ANALYTICSD_MIGRATE", value_parser = BoolishValueParser::new())]
    migrate: bool,

    /// The address and port to serve /metrics on, for Prometheus; keep it from the public. Not given: not served.
    #[arg(long, env = "ANALYTICSD_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,

    /// Keep events in DIR while the database is away, and answer 202 instead of 503; they are stored once it is back. Each daemon needs a
    /// folder of its own, on a disk that keeps what is synced.
    #[arg(long, env = "ANALYTICSD_SPOOL", value_name = "DIR")]
    spool: Option<PathBuf>,

    /// The most bytes of requests that the spool may hold, 1 at least; its file takes about twice as much on disk.
    #[arg(long, env = "ANALYTICSD_SPOOL_SIZE", value_name = "BYTES", default_value_t = 1_073_741_824, value_parser = clap::value_parser!(u64).range(1..))]
    spool_size: u64,

    /// How long an hour that has ended must have been quiet before its counts move to the hourly aggregate.
    #[arg(long, env = "ANALYTICSD_SETTLE_AFTER", default_value = "10m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    settle_after: Duration,

    /// The most connections of clients at a time; further ones are answered 503.
    #[arg(
        long, env = "ANALYTICSD_MAX_CONNECTIONS", default_value_t = 10_000, value_name = "N",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000)
    )]
    max_connections: usize,

    /// How many threads serve requests, 1 to 1024 [default: one for every two cores, since the database needs the others].
    #[arg(
        long, env = "ANALYTICSD_WORKER_THREADS", value_name = "N", hide_default_value = true, default_value_t = half_of_the_cores(),
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_024)
    )]
    worker_threads: usize,

    /// How long a stop may take before what is still unanswered is cut off.
    #[arg(long, env = "ANALYTICSD_SHUTDOWN_TIMEOUT", default_value = "30s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    shutdown_timeout: Duration,

    /// What to log, as a filter of tracing-subscriber: error, warn, info, debug, or by module.
    #[arg(long, env = "ANALYTICSD_LOG", default_value = "info,refinery_core=warn", value_name = "FILTER", value_parser = log_filter)]
    log: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EmbeddedKindArg {
    /// PostgreSQL as installed on this machine, with TimescaleDB where that is installed too.
    Native,
    /// TimescaleDB in WebAssembly; needs Node.js, and npm the first time.
    Wasm,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Database {
    /// A server that somebody else runs.
    Url(String),
    /// A private one.
    Embedded(EmbeddedOptions),
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
    /// The most connections of clients at a time, from 1 to 1,000,000.
    pub max_connections: usize,
    /// How many threads serve requests, from 1 to 1,024.
    pub worker_threads: usize,
    /// How long a stop may take.
    pub shutdown_timeout: Duration,
}

/// The outage spool.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// Its folder.
    pub dir: PathBuf,
    /// How many bytes of requests it may hold.
    pub max_bytes: u64,
}

/// A command line that says too little.
#[derive(Debug, Error)]
#[error(
    "no database: give one with --database-url (or DATABASE_URL), or let analyticsd run a private one for a trial with --embedded"
)]
pub struct NoDatabase;

/// One thread serves more requests than one database commits. More of them than that take time from the database where it runs on the
/// same machine, and from each other: see docs/performance.md.
fn half_of_the_cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2)
}

fn log_filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

impl Args {
    /// What to log.
    pub fn log_filter(&self) -> EnvFilter {
        // The driver writes what it sends, users' names among it, to whoever asks for everything. It takes asking for it by its name.
        EnvFilter::try_new(format!("tokio_postgres=info,{}", self.log))
            .expect("the parser of --log accepts only filters")
    }

    /// Checks what was given.
    pub fn into_config(self) -> Result<Config, NoDatabase> {
        // A variable that is set to nothing says nothing.
        let database_url = self.database_url.filter(|url| !url.is_empty());
        let database = match (self.embedded, database_url) {
            (Some(dir), url) => {
                if url.is_some() {
                    tracing::warn!("running the embedded database; the database URL is not used");
                }
                Database::Embedded(EmbeddedOptions {
                    dir,
                    kind: self.embedded_kind.map(|kind| match kind {
                        EmbeddedKindArg::Native => EmbeddedKind::Native,
                        EmbeddedKindArg::Wasm => EmbeddedKind::Wasm,
                    }),
                    postgres_bin: self.postgres_bin,
                    wasm_server: None,
                })
            }
            (None, Some(url)) => Database::Url(url),
            (None, None) => return Err(NoDatabase),
        };
        Ok(Config {
            listen: self.listen,
            migrate: self.migrate || matches!(database, Database::Embedded(_)),
            database,
            admin_listen: self.admin_listen,
            spool: self.spool.map(|dir| SpoolConfig { dir, max_bytes: self.spool_size }),
            settle_after: self.settle_after,
            max_connections: self.max_connections,
            worker_threads: self.worker_threads,
            shutdown_timeout: self.shutdown_timeout,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Args, Database};

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn embedded_takes_a_folder_after_an_equals_sign_or_the_default_one() {
        for (arguments, expected) in [("--embedded", ".analytics"), ("--embedded=/somewhere/else", "/somewhere/else")] {
            let config = Args::parse_from(["analyticsd", arguments]).into_config().unwrap();
            let Database::Embedded(options) = config.database else { panic!("{arguments} is not embedded") };
            assert_eq!(options.dir.to_str(), Some(expected));
            assert!(config.migrate, "an embedded database is migrated without being asked");
        }
    }
}
