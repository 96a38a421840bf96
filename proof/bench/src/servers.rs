//! The servers that are measured, each a process of its own.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use db::Flavour;
use harness::{ServerProcess, bare_command};
use model::{
    Hour, HourCounts, SiteName,
    wire::{ANALYTICS_PATH, BATCH_PATH, NDJSON},
};
use serde::Deserialize;
use tokio::process::Command;

use crate::{cpu, measure::Contender};

/// Open hours must not be settled during a long run.
const UNSETTLED: &str = "1day";
/// More than any load makes.
const UNREACHED: &str = "1000000/s";

pub(crate) struct Programs {
    bench: PathBuf,
    daemon: PathBuf,
    cli: PathBuf,
    /// What their daemon is called.
    name: Contender,
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
        Ok(Self { daemon: beside("analyticsd")?, cli: beside("analytics-cli")?, bench, name: Contender::Daemon })
    }

    /// The same with the programs of an earlier commit.
    pub(crate) fn of_earlier(daemon: PathBuf, cli: PathBuf) -> anyhow::Result<Self> {
        let bench = env::current_exe().context("cannot find this program")?;
        Ok(Self { bench, daemon, cli, name: Contender::Earlier })
    }

    /// Makes the schema of these programs, which may differ from the one of this program.
    pub(crate) async fn migrate(&self, url: &str) -> anyhow::Result<()> {
        let mut migrate = bare_command(&self.cli);
        let outcome = migrate.args(["migrate", "up"]).env("DATABASE_URL", url).output().await;
        let outcome = outcome.context("cannot make the schema")?;
        if !outcome.status.success() {
            bail!("cannot make the schema: {}", String::from_utf8_lossy(&outcome.stderr).trim());
        }
        Ok(())
    }

    pub(crate) async fn ceiling(&self) -> anyhow::Result<Server> {
        let mut command = bare_command(&self.bench);
        command.arg("serve-ceiling");
        Server::start(Contender::Ceiling, command).await
    }

    pub(crate) async fn textbook(&self, url: &str, flavour: Flavour, connections: usize) -> anyhow::Result<Server> {
        let mut command = bare_command(&self.bench);
        command.args(["serve-textbook", "--flavour", flavour.as_str()]);
        // Other users of the machine can read the command line, and the URL may hold a password.
        command.arg("--connections").arg(connections.to_string()).env("DATABASE_URL", url);
        Server::start(Contender::Textbook, command).await
    }

    pub(crate) async fn daemon(&self, url: &str) -> anyhow::Result<Server> {
        self.daemon_with("DATABASE_URL", url, UNSETTLED).await
    }

    /// Starts a daemon that settles hours soon.
    pub(crate) async fn settling_daemon(&self, url: &str) -> anyhow::Result<Server> {
        self.daemon_with("DATABASE_URL", url, "2s").await
    }

    /// Starts a daemon on the databases of a counter, shard 0 first. A single one is named as where there are no shards.
    pub(crate) async fn daemon_of_shards(&self, urls: &[String]) -> anyhow::Result<Server> {
        match urls {
            [one] => self.daemon(one).await,
            several => self.daemon_with("ANALYTICSD_SHARDS", &several.join(" "), UNSETTLED).await,
        }
    }

    /// The databases are in a variable, since a URL may hold a password.
    async fn daemon_with(&self, variable: &str, databases: &str, settle_after: &str) -> anyhow::Result<Server> {
        let mut command = bare_command(&self.daemon);
        command.args(["--listen", "127.0.0.1:0", "--settle-after", settle_after]).env(variable, databases);
        // With a token in the database, the daemon would require one.
        command.arg("--allow-anonymous");
        Server::start(self.name, command).await
    }

    /// Starts a daemon that requires a token, and checks rate limits that are never reached.
    pub(crate) async fn guarded(&self, url: &str) -> anyhow::Result<Server> {
        let mut create = Command::new(&self.cli);
        create.args(["token", "create", "bench", "--scope", "write,read"]).env("DATABASE_URL", url);
        let created = create.output().await.context("cannot make a token")?;
        if !created.status.success() {
            bail!("cannot make a token: {}", String::from_utf8_lossy(&created.stderr).trim());
        }
        let token = String::from_utf8(created.stdout)?.trim().to_owned();
        let mut command = bare_command(&self.daemon);
        command.args(["--listen", "127.0.0.1:0", "--settle-after", UNSETTLED]).env("DATABASE_URL", url);
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

    /// Sends a batch of newline-delimited JSON.
    pub(crate) async fn store(&self, lines: Vec<u8>) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}{BATCH_PATH}", self.url())).header("content-type", NDJSON);
        request.body(lines).send().await?.error_for_status()?;
        Ok(())
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
