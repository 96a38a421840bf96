//! The servers that are measured, each a process of its own that ends with this one.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use db::Flavour;
use model::{Hour, HourCounts, wire::ANALYTICS_PATH};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{cpu, measure::Contender};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// More requests than any load makes.
const UNREACHED: &str = "1000000/s";

/// The executables.
pub(crate) struct Programs {
    bench: PathBuf,
    daemon: PathBuf,
    cli: PathBuf,
}

/// What a server needs to know of the database.
pub(crate) struct ServedDatabase<'a> {
    pub(crate) url: &'a str,
    pub(crate) flavour: Flavour,
}

impl Programs {
    /// The others lie where this program does, so all were built alike.
    pub(crate) fn find() -> anyhow::Result<Self> {
        const BUILD: &str = "cargo build --release -p bench -p analyticsd -p analytics-cli";
        let bench = env::current_exe().context("this program cannot find itself")?;
        if cfg!(debug_assertions) {
            bail!("a debug build measures nothing; run `{BUILD}`");
        }
        let beside = |name| {
            let program = bench.with_file_name(name);
            if !program.is_file() {
                bail!("{} is not there; run `{BUILD}`", program.display());
            }
            Ok(program)
        };
        Ok(Self { daemon: beside("analyticsd")?, cli: beside("analytics-cli")?, bench })
    }

    /// Starts the server that does nothing.
    pub(crate) async fn ceiling(&self) -> anyhow::Result<Server> {
        let mut command = bare_command(&self.bench);
        command.arg("serve-ceiling");
        Server::start(Contender::Ceiling, command).await
    }

    /// Starts the textbook's server.
    pub(crate) async fn textbook(&self, database: &ServedDatabase<'_>, connections: usize) -> anyhow::Result<Server> {
        let mut command = bare_command(&self.bench);
        command.args(["serve-textbook", "--flavour", database.flavour.as_str()]);
        // Every user of the machine can read a command line, and a URL may hold a password: it goes in the environment.
        command.arg("--connections").arg(connections.to_string()).env("DATABASE_URL", database.url);
        Server::start(Contender::Textbook, command).await
    }

    /// Starts a daemon.
    pub(crate) async fn daemon(&self, database: &ServedDatabase<'_>) -> anyhow::Result<Server> {
        let mut command = bare_command(&self.daemon);
        // The hours that are to be read while open must not be settled in the middle of a long run.
        command.args(["--listen", "127.0.0.1:0", "--settle-after", "1day"]).env("DATABASE_URL", database.url);
        // The database may have a token by then, which would close it.
        command.arg("--allow-anonymous");
        Server::start(Contender::Daemon, command).await
    }

    /// Starts a daemon that lets in whoever has a token, and looks at limits that are never reached.
    pub(crate) async fn guarded(&self, database: &ServedDatabase<'_>) -> anyhow::Result<Server> {
        let mut create = Command::new(&self.cli);
        create.args(["token", "create", "bench", "--scope", "write,read"]).env("DATABASE_URL", database.url);
        let created = create.output().await.context("cannot make a token")?;
        if !created.status.success() {
            bail!("cannot make a token: {}", String::from_utf8_lossy(&created.stderr).trim());
        }
        let token = String::from_utf8(created.stdout)?.trim().to_owned();
        let mut command = bare_command(&self.daemon);
        command.args(["--listen", "127.0.0.1:0", "--settle-after", "1day"]).env("DATABASE_URL", database.url);
        command.args(["--rate-limit-per-token", UNREACHED, "--rate-limit-per-address", UNREACHED]);
        Ok(Server { token: Some(token), ..Server::start(Contender::Guarded, command).await? })
    }

    /// The import of a file of newline-delimited JSON into a daemon.
    pub(crate) fn import(&self, file: &Path, daemon: &Server, with_keys: bool) -> Command {
        let mut command = Command::new(&self.cli);
        command.args(["import", "--format", "ndjson", "--server", &daemon.url]).arg(file);
        command.args((!with_keys).then_some("--without-keys"));
        command
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
    pub(crate) url: String,
    token: Option<String>,
    http: reqwest::Client,
    process: Child,
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
        Ok(Self { name, url: url.to_owned(), token: None, http: reqwest::Client::new(), process, _stdout: stdout })
    }

    /// Its process; none once it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// What opens it, if it is not open.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The most memory that it has had at a time, where /proc tells.
    pub(crate) fn peak_memory_mib(&self) -> Option<f64> {
        cpu::peak_memory_mib(self.pid()?)
    }

    /// Asks for the counts of an hour.
    pub(crate) async fn counts(&self, hour: Hour) -> anyhow::Result<HourCounts> {
        let url = format!("{}{ANALYTICS_PATH}?timestamp={}", self.url, hour.start().millis());
        let response = self.http.get(url).send().await?.error_for_status()?;
        Ok(response.text().await?.parse()?)
    }
}
