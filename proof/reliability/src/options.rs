//! How a scenario is run.

use std::{path::PathBuf, time::Duration};

use harness::Daemon;

/// How a scenario is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where all randomness comes from. Threads and the network bring their own, so a seed repeats the plan, not the interleaving.
    pub seed: u64,
    /// How many clients make load at a time.
    pub clients: u32,
    /// How long faults are injected; every scenario injects each of its faults at least once, however short this is.
    pub duration: Duration,
    /// The folder of PostgreSQL's server binaries; none: looked for.
    pub postgres_bin: Option<PathBuf>,
    /// What the daemons log to standard error, as a filter of theirs.
    pub daemon_log: String,
}

impl Options {
    /// Starts a daemon on a database. It lets everybody in: what a fault does to events is to be seen, and not that a daemon that cannot read its
    /// tokens closes.
    pub async fn start_daemon(&self, database_url: &str, more: &[&str]) -> Daemon {
        let arguments = ["--database-url", database_url, "--allow-anonymous", "--log", &self.daemon_log];
        Daemon::start_with(arguments.iter().chain(more)).await
    }
}
