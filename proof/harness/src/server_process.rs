use std::{env, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Starting may include starting an embedded database.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server as a process of its own, which prints the addresses that it listens on. Killed when it is dropped.
pub struct ServerProcess {
    pub(crate) process: Child,
    url: String,
    metrics_url: Option<String>,
}

impl ServerProcess {
    /// Returns once the server listens.
    pub async fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = process.stdout.take().context("standard output is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut metrics_url = None;
        let url = loop {
            let line = timeout(PATIENCE, lines.next_line()).await.context("the server did not start in time")??;
            let line = line.unwrap_or_default();
            match line.split_once(" on ") {
                Some(("metrics", url)) => metrics_url = Some(url.to_owned()),
                Some(("listening", url)) => break url.to_owned(),
                _ => bail!("the server printed {line:?} instead of its address"),
            }
        };
        // A full pipe would block the server.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { process, url, metrics_url })
    }

    /// Without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// None unless the daemon was started with `--admin-listen`.
    pub fn metrics_url(&self) -> Option<&str> {
        self.metrics_url.as_deref()
    }

    /// None once the process has ended.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }
}

/// A command without arguments, in an environment that does not configure the daemon.
pub fn bare_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("ANALYTICSD_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command
}
