//! The servers that are measured, each a process of its own.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use db::Flavour;
use harness::{ServerProcess, bare_command};
use model::{Hour, HourCounts, SiteName, wire::ANALYTICS_PATH};
use serde::Deserialize;
use tokio::process::Command;

use crate::{cpu, measure::Contender};

/// More than any load makes.
const UNREACHED: &str = "1000000/s";

pub(crate) struct Programs {
    bench: PathBuf,
    daemon: PathBuf,
    cli: PathBuf,
}

pub(crate) struct ServedDatabase<'a> {
    pub(crate) url: &'a str,
    pub(crate) flavour: Flavour,
}

impl Programs {
    /// The other programs lie beside this one, so all were built alike.
    pub(crate) fn find() -> anyhow::Result<Self> {
        const BUILD: &str = "cargo build --release -p bench -p analyticsd -p analytics-cli";
        let bench = env::current_exe().context("cannot find this program")?;
        if cfg!(debug_assertions) {
            bail!("the figures of a debug build mean nothing; run `{BUILD}`");
        }
        let beside = |name| {
            let program = bench.with_file_name(name);
            if !program.is_file() {
                bail!("{} does not exist; run `{BUILD}`", program.display());
            }
            Ok(program)
        };
        Ok(Self { daemon: beside("analyticsd")?, cli: beside("analytics-cli")?, bench })
    }

    pub(crate) async fn ceiling(&self) -> anyhow::Result<Server> {
        let mut command = bare_command(&self.bench);
        command.arg("serve-ceiling");
        Server::start(Contender::Ceiling, command).await
    }

    pub(crate) async fn textbook(&self, database: &ServedDatabase<'_>, connections: usize) -> anyhow::Result<Server> {
        let mut command = bare_command(&self.bench);
        command.args(["serve-textbook", "--flavour", database.flavour.as_str()]);
        // Other users of the machine can read the command line, and the URL may hold a password.
        command.arg("--connections").arg(connections.to_string()).env("DATABASE_URL", database.url);
        Server::start(Contender::Textbook, command).await
    }

    pub(crate) async fn daemon(&self, database: &ServedDatabase<'_>) -> anyhow::Result<Server> {
        self.daemon_with("DATABASE_URL", database.url).await
    }

    /// Starts a daemon on the databases of a counter, shard 0 first. A single one is named as where there are no shards.
    pub(crate) async fn daemon_of_shards(&self, urls: &[String]) -> anyhow::Result<Server> {
        match urls {
            [one] => self.daemon_with("DATABASE_URL", one).await,
            several => self.daemon_with("ANALYTICSD_SHARDS", &several.join(" ")).await,
        }
    }

    /// The databases are in a variable, since a URL may hold a password.
    async fn daemon_with(&self, variable: &str, databases: &str) -> anyhow::Result<Server> {
        let mut command = bare_command(&self.daemon);
        // Open hours must not be settled during a long run.
        command.args(["--listen", "127.0.0.1:0", "--settle-after", "1day"]).env(variable, databases);
        // With a token in the database, the daemon would require one.
        command.arg("--allow-anonymous");
        Server::start(Contender::Daemon, command).await
    }

    /// Starts a daemon that requires a token, and checks rate limits that are never reached.
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

    /// Imports newline-delimited JSON.
    pub(crate) fn import(&self, file: &Path, daemon: &Server, is_source: bool) -> Command {
        let mut command = Command::new(&self.cli);
        command.args(["import", "--format", "ndjson", "--server", daemon.url()]).arg(file);
        command.args((!is_source).then_some("--without-source"));
        command
    }
}

/// One running server.
pub(crate) struct Server {
    pub(crate) name: Contender,
    process: ServerProcess,
    token: Option<String>,
    http: reqwest::Client,
}

impl Server {
    async fn start(name: Contender, command: Command) -> anyhow::Result<Self> {
        let process = ServerProcess::start(command).await.with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, process, token: None, http: reqwest::Client::new() })
    }

    pub(crate) fn url(&self) -> &str {
        self.process.url()
    }

    /// None once the process has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// None if the server requires no token.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The most memory that the process has had, if /proc has it.
    pub(crate) fn peak_memory_mib(&self) -> Option<f64> {
        cpu::peak_memory_mib(self.pid()?)
    }

    pub(crate) async fn counts(&self, hour: Hour) -> anyhow::Result<HourCounts> {
        self.counts_of(None, hour).await
    }

    pub(crate) async fn counts_of(&self, site: Option<&SiteName>, hour: Hour) -> anyhow::Result<HourCounts> {
        let site = site.map(|name| format!("&site={name}")).unwrap_or_default();
        let url = format!("{}{ANALYTICS_PATH}?timestamp={}{site}", self.url(), hour.start().millis());
        let response = self.http.get(url).send().await?.error_for_status()?;
        Ok(response.text().await?.parse()?)
    }
    /// What an answer about a range says of all its hours together.
    pub(crate) async fn unique_users(&self, path: &str) -> anyhow::Result<u64> {
        #[derive(Deserialize)]
        struct Answer {
            unique_users: Option<u64>,
        }
        let response = self.http.get(format!("{}{path}", self.url())).send().await?.error_for_status()?;
        let answer: Answer = serde_json::from_slice(&response.bytes().await?)?;
        answer.unique_users.context("nobody can tell the unique users of the range")
    }
}
