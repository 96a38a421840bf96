use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use db::embedded::PostgresBinaries;
use harness::{Daemon, PrivateServer, ShardServers};
use tempfile::TempDir;

/// On one machine a daemon sends no commit ahead by itself. With this others are on their way behind the one that a fault meets.
const SENDS_AHEAD: [&str; 2] = ["--commit-depth", "4"];

#[derive(Debug, Clone)]
pub struct Options {
    /// A seed repeats the plan, not the interleaving of threads and the network.
    pub seed: u64,
    pub clients: u32,
    /// How long faults are injected. Every scenario injects each of its faults at least once.
    pub duration: Duration,
    /// The folder of PostgreSQL's programs; none: looked for.
    pub postgres_bin: Option<PathBuf>,
    /// The daemons' filter of the log.
    pub daemon_log: String,
    /// How many databases a counter has in the scenarios of several.
    pub shards: usize,
}

impl Options {
    pub(crate) async fn start_server(&self) -> anyhow::Result<PrivateServer> {
        self.start_server_in(harness::server_dir()).await
    }

    pub(crate) async fn start_server_in(&self, dir: TempDir) -> anyhow::Result<PrivateServer> {
        PrivateServer::start_in(dir, self.postgres_bin.clone()).await
    }

    pub(crate) async fn start_shards(&self) -> anyhow::Result<ShardServers> {
        ShardServers::start_with(self.shards, self.postgres_bin.clone()).await
    }

    /// PostgreSQL's programs.
    pub(crate) fn programs(&self) -> anyhow::Result<PostgresBinaries> {
        let programs = match &self.postgres_bin {
            Some(folder) => PostgresBinaries::within(folder),
            None => PostgresBinaries::find(),
        };
        programs.context("PostgreSQL's server is not installed")
    }

    /// Starts a daemon that allows anonymous requests: without a database it cannot read its tokens, and would refuse
    /// all requests.
    pub(crate) async fn start_daemon(&self, database_url: &str, more: &[&str]) -> Daemon {
        let arguments = ["--database-url", database_url, "--allow-anonymous", "--log", &self.daemon_log];
        Daemon::start_with(arguments.iter().chain(&SENDS_AHEAD).chain(more)).await
    }

    /// The same for a counter of several databases, as [`ShardServers::arguments`] name them.
    pub(crate) async fn start_daemon_of_shards(&self, shards: &[String], more: &[&str]) -> Daemon {
        let others = ["--allow-anonymous", "--log", &self.daemon_log, "--admin-listen", "127.0.0.1:0"];
        let own = others.into_iter().chain(SENDS_AHEAD).chain(more.iter().copied());
        let arguments = shards.iter().map(String::as_str).chain(own);
        Daemon::start_with(arguments).await
    }
}
