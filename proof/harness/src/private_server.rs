use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use db::{
    Flavour, Store, StoreOptions,
    embedded::{Embedded, EmbeddedOptions},
    schema,
};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::{
    database::{connect, embedded_options, server_dir},
    processes::{children_of, signal, signal_some},
    slow_link::socket_of,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// The name of the harness's own connections, so that faults meant for the daemon's connections spare them.
pub const APPLICATION_NAME: &str = "harness";

/// How a server ends without a regular stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `pg_ctl stop -m immediate`: every process quits at once, and the next start recovers from the log.
    Immediate,
    /// `kill -9` of the main process, whose children then quit by themselves. One that waits for another does not, if
    /// that ended without letting go.
    Kill,
    /// `kill -9` of every process at once, as when the machine loses its power.
    PowerLost,
}

/// A native PostgreSQL server with the schema, in a folder of its own. It can be stopped, crashed and started again
/// on the same data, and tests may change its settings.
pub struct PrivateServer {
    running: Option<Embedded>,
    options: EmbeddedOptions,
    url: String,
    flavour: Flavour,
    store: Store,
    dir: TempDir,
}

impl PrivateServer {
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_in(server_dir(), None).await
    }

    /// Makes the schema of the best flavour that the server can hold. `postgres_bin` is the folder of its programs;
    /// none: looked for.
    pub async fn start_in(dir: TempDir, postgres_bin: Option<PathBuf>) -> anyhow::Result<Self> {
        Self::start_with(dir, postgres_bin, Vec::new()).await
    }

    /// The same with more settings of the server, each as NAME=VALUE.
    pub async fn start_with(
        dir: TempDir,
        postgres_bin: Option<PathBuf>,
        settings: Vec<String>,
    ) -> anyhow::Result<Self> {
        let mut server = Self::without_schema(dir, postgres_bin, settings).await?;
        server.flavour = schema::migrate(&server.store, None).await?.flavour;
        Ok(server)
    }

    /// The same with an empty database.
    pub async fn without_schema(
        dir: TempDir,
        postgres_bin: Option<PathBuf>,
        settings: Vec<String>,
    ) -> anyhow::Result<Self> {
        let options = EmbeddedOptions { postgres_bin, settings, ..embedded_options(dir.path(), Flavour::Postgres) };
        let running = Embedded::start(&options).await?;
        let url = running.url().to_owned();
        let name = StoreOptions { application_name: APPLICATION_NAME.to_owned(), ..StoreOptions::default() };
        let store = Store::new(&url, name)?;
        Ok(Self { running: Some(running), options, url, flavour: Flavour::Postgres, store, dir })
    }

    /// Stays the same when the server is started again.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The folder with the server's data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The socket that the server listens on.
    pub fn socket(&self) -> PathBuf {
        socket_of(&self.url.parse().expect("the URL is valid"))
    }

    /// A connection of the superuser.
    pub async fn client(&self) -> Client {
        connect(&self.url.parse().expect("the URL is valid")).await
    }

    pub async fn runs(&mut self) -> bool {
        match &mut self.running {
            Some(running) => timeout(Duration::ZERO, running.ended()).await.is_err(),
            None => false,
        }
    }

    /// Replaces the rules by which the server lets clients in.
    pub async fn let_in(&self, rules: &str) {
        std::fs::write(self.dir.path().join("native/data/pg_hba.conf"), rules).expect("the folder is the test's own");
        self.client().await.batch_execute("select pg_reload_conf()").await.expect("the server reads its files again");
    }

    /// Stops the server as a service manager does.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(running) = self.running.take() {
            running.stop().await?;
        }
        Ok(())
    }

    pub async fn end(&mut self, how: End) -> anyhow::Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let pid = running.pid().context("the server has ended by itself")?;
        match how {
            End::Immediate => signal(pid, "QUIT").await?,
            End::Kill => signal(pid, "KILL").await?,
            End::PowerLost => {
                // So that it makes no more of them.
                signal(pid, "STOP").await?;
                let all = [children_of(pid), vec![pid]].concat();
                signal_some(&all, "KILL").await?;
            }
        }
        timeout(PATIENCE, running.ended()).await.context("the server did not end")
    }

    /// Starts the server on its data, at the same address, and returns once it has recovered.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        // The old one holds the lock of the folder.
        drop(self.running.take());
        self.running = Some(Embedded::start(&self.options).await?);
        Ok(())
    }
}

impl Drop for PrivateServer {
    /// A regular stop would write data into a folder that is about to be removed.
    fn drop(&mut self) {
        if let Some(pid) = self.running.as_ref().and_then(Embedded::pid) {
            let _ = std::process::Command::new("kill").args(["-QUIT", &pid.to_string()]).status();
        }
    }
}
