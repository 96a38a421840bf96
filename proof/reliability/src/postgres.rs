//! A private PostgreSQL server that can be crashed, killed, stopped, and started again on the same data.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use db::{
    Flavour, Store, StoreOptions,
    embedded::{Embedded, EmbeddedKind, EmbeddedOptions},
    schema,
};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};
use tokio_postgres::config::Host;

use crate::options::Options;

/// How long a server that was told to end may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A way to end a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `pg_ctl stop -m immediate`: every process quits at once, and the next start recovers from the log.
    Immediate,
    /// `kill -9` of the main process, whose children then quit by themselves.
    Kill,
}

impl End {
    fn signal(self) -> &'static str {
        match self {
            Self::Immediate => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// A PostgreSQL server with the schema, in a folder of its own.
pub struct Server {
    running: Option<Embedded>,
    options: EmbeddedOptions,
    url: String,
    flavour: Flavour,
    store: Store,
    _dir: TempDir,
}

impl Server {
    /// Starts a server and makes the schema of the best flavour that it can hold.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        Self::start_in(harness::server_dir(), options).await
    }

    /// The same in a folder that the caller prepared.
    pub async fn start_in(dir: TempDir, options: &Options) -> anyhow::Result<Self> {
        let options = EmbeddedOptions {
            dir: dir.path().to_owned(),
            kind: Some(EmbeddedKind::Native),
            postgres_bin: options.postgres_bin.clone(),
            wasm_server: None,
        };
        let running = Embedded::start(&options).await?;
        let url = running.url().to_owned();
        let name = StoreOptions { application_name: AUDITOR.to_owned(), ..StoreOptions::default() };
        let store = Store::new(&url, name)?;
        let flavour = schema::migrate(&store, None).await?.flavour;
        Ok(Self { running: Some(running), options, url, flavour, store, _dir: dir })
    }

    /// Where to connect. It stays the same when the server is started again.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Which flavour its schema has.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// A store on it, which goes by the name [`AUDITOR`].
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> anyhow::Result<PathBuf> {
        let config: tokio_postgres::Config = self.url.parse()?;
        match config.get_hosts() {
            [Host::Unix(folder)] => Ok(folder.join(".s.PGSQL.5432")),
            hosts => bail!("the private server listens on {hosts:?} instead of one socket"),
        }
    }

    /// Whether it runs.
    pub async fn runs(&mut self) -> bool {
        match &mut self.running {
            Some(running) => timeout(Duration::ZERO, running.ended()).await.is_err(),
            None => false,
        }
    }

    /// Ends the server without giving it time for anything.
    pub async fn end(&mut self, how: End) -> anyhow::Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let pid = running.pid().context("the server has ended by itself")?;
        signal(pid, how.signal()).await?;
        timeout(PATIENCE, running.ended()).await.context("the server outlived its end")
    }

    /// Starts the server again, on its data and at its address, and returns once it has recovered.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        // What holds the folder's lock goes first.
        drop(self.running.take());
        self.running = Some(Embedded::start(&self.options).await?);
        Ok(())
    }
}

impl Drop for Server {
    /// An orderly stop would write data that nobody reads, into a folder that is being removed.
    fn drop(&mut self) {
        if let Some(pid) = self.running.as_ref().and_then(Embedded::pid) {
            let _ = std::process::Command::new("kill").args(["-QUIT", &pid.to_string()]).status();
        }
    }
}

/// The name by which this crate's own connections go, so that faults meant for the daemon's leave them alone.
pub const AUDITOR: &str = "reliability";

/// Sends a signal by its name.
pub async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().await?;
    anyhow::ensure!(status.success(), "kill -{name} {pid}: {status}");
    Ok(())
}
