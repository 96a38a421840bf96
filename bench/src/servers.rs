//! The three servers, each a process of its own that ends with this one.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use db::Flavour;
use model::{Hour, HourCounts, wire::ANALYTICS_PATH};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const DAEMON: &str = "analyticsd";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Contender {
    Ceiling,
    Textbook,
    Daemon,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ceiling => "warp that does nothing",
            Self::Textbook => "textbook",
            Self::Daemon => DAEMON,
        })
    }
}

/// The executables of the servers.
pub(crate) struct Programs {
    bench: PathBuf,
    daemon: PathBuf,
}

impl Programs {
    /// The daemon lies where this program does, so both were built alike.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let bench = env::current_exe().context("this program cannot find itself")?;
        let daemon = bench.with_file_name(DAEMON);
        if cfg!(debug_assertions) {
            bail!("a debug build measures nothing; run `cargo build --release -p bench -p {DAEMON}`");
        }
        if !daemon.is_file() {
            bail!("{} is not there; run `cargo build --release -p bench -p {DAEMON}`", daemon.display());
        }
        Ok(Self { bench, daemon })
    }
}

/// The three servers, ready for requests.
pub(crate) struct Servers {
    pub(crate) ceiling: Server,
    pub(crate) textbook: Server,
    pub(crate) daemon: Server,
}

impl Servers {
    pub(crate) async fn start(
        programs: &Programs,
        database_url: &str,
        flavour: Flavour,
        textbook_connections: usize,
    ) -> anyhow::Result<Self> {
        let mut ceiling = bare_command(&programs.bench);
        ceiling.arg("serve-ceiling");

        // Every user of the machine can read a command line, and a URL may hold a password: it goes in the environment.
        let mut textbook = bare_command(&programs.bench);
        textbook.args(["serve-textbook", "--flavour", flavour.as_str()]);
        textbook.arg("--connections").arg(textbook_connections.to_string()).env("DATABASE_URL", database_url);

        // The hours that are to be read while open must not be settled in the middle of a long run.
        let mut daemon = bare_command(&programs.daemon);
        daemon.args(["--listen", "127.0.0.1:0", "--settle-after", "1day"]).env("DATABASE_URL", database_url);

        Ok(Self {
            ceiling: Server::start(Contender::Ceiling, ceiling).await?,
            textbook: Server::start(Contender::Textbook, textbook).await?,
            daemon: Server::start(Contender::Daemon, daemon).await?,
        })
    }
}

/// A command in an environment that does not configure the daemon.
fn bare_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANALYTICSD_")) {
        command.env_remove(name);
    }
    command
}

/// One running server.
pub(crate) struct Server {
    pub(crate) name: Contender,
    url: String,
    http: reqwest::Client,
    _process: Child,
    // Kept open: a server must not fail for want of a reader.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    async fn start(name: Contender, mut command: Command) -> anyhow::Result<Self> {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let mut stdout = BufReader::new(process.stdout.take().context("standard output is piped")?);
        let mut line = String::new();
        timeout(START_TIMEOUT, stdout.read_line(&mut line))
            .await
            .with_context(|| format!("{name} did not start within {START_TIMEOUT:?}"))??;
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            bail!("{name} did not start: it said {line:?} instead of where it listens");
        };
        Ok(Self { name, url: url.to_owned(), http: reqwest::Client::new(), _process: process, _stdout: stdout })
    }

    /// Where events are sent.
    pub(crate) fn events_url(&self) -> String {
        format!("{}{ANALYTICS_PATH}", self.url)
    }

    /// Where the counts of an hour are.
    pub(crate) fn counts_url(&self, hour: Hour) -> String {
        format!("{}?timestamp={}", self.events_url(), hour.start().millis())
    }

    /// Asks for the counts of an hour.
    pub(crate) async fn counts(&self, hour: Hour) -> anyhow::Result<HourCounts> {
        let response = self.http.get(self.counts_url(hour)).send().await?.error_for_status()?;
        Ok(response.text().await?.parse()?)
    }
}
