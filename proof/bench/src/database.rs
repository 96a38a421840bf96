use std::{fmt, path::PathBuf, process::Command, time::Duration};

use anyhow::bail;
use db::{
    Connected, Flavour, Store, StoreOptions,
    embedded::{Embedded, EmbeddedOptions},
    schema,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::cpu;

/// How long statements of clients that have hung up may continue.
const PATIENCE: Duration = Duration::from_mins(1);

/// A given server, or a private one that is removed after the run.
pub(crate) struct Database {
    url: String,
    client: Connected,
    store: Store,
    private: Option<Private>,
}

struct Private {
    server: Embedded,
    dir: TempDir,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseFacts {
    pub(crate) postgresql: String,
    pub(crate) timescaledb: Option<String>,
    pub(crate) fsync: String,
    pub(crate) synchronous_commit: String,
    /// Of a private database. On a file system in memory, fsync costs nothing.
    pub(crate) file_system: Option<String>,
}

impl Database {
    /// Without a URL, starts a private server, of the programs in `postgres_bin` if that is given.
    pub(crate) async fn start(url: Option<&str>, postgres_bin: Option<PathBuf>) -> anyhow::Result<Self> {
        let private = match url {
            Some(_) => None,
            None => Some(Private::start(postgres_bin).await?),
        };
        let url = private.as_ref().map(|private| private.server.url()).or(url).unwrap_or_default().to_owned();
        let store = Store::new(&url, StoreOptions { application_name: "bench".to_owned(), ..StoreOptions::default() })?;
        let client = store.plain_client().await?;
        Ok(Self { url, client, store, private })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Makes the daemon's schema. The database must be empty, so that no events of others are changed.
    pub(crate) async fn migrate(&self) -> anyhow::Result<Flavour> {
        const IS_EMPTY: &str = "select to_regnamespace('analytics') is null and to_regnamespace('textbook') is null";
        if !self.client.query_one(IS_EMPTY, &[]).await?.get::<_, bool>(0) {
            bail!("the database is in use: it has a schema analytics or textbook; give an empty one");
        }
        Ok(schema::migrate(&self.store, None).await?.flavour)
    }

    /// Makes the server do its maintenance now rather than during the first measurements.
    pub(crate) async fn calm_down(&self) -> anyhow::Result<()> {
        self.client.batch_execute("vacuum analyze").await?;
        // This needs a superuser, which the owner of a given database may not be.
        if self.private.is_some() {
            self.client.batch_execute("checkpoint").await?;
        }
        self.wait_until_idle().await
    }

    /// Waits for the statements of clients that have hung up, which would slow down the next measurement.
    pub(crate) async fn wait_until_idle(&self) -> anyhow::Result<()> {
        const BUSY: &str = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' \
             and backend_type = 'client backend' and pid <> pg_backend_pid()";
        let began = Instant::now();
        while self.client.query_one(BUSY, &[]).await?.get::<_, i64>(0) > 0 {
            if began.elapsed() > PATIENCE {
                bail!("the database is still busy {PATIENCE:?} after the load ended");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The main process of the server, if it runs on this machine.
    pub(crate) async fn postmaster(&self) -> anyhow::Result<Option<u32>> {
        let backend: i32 = self.client.query_one("select pg_backend_pid()", &[]).await?.get(0);
        Ok(u32::try_from(backend).ok().and_then(cpu::postmaster_of))
    }

    pub(crate) async fn facts(&self) -> anyhow::Result<DatabaseFacts> {
        const FACTS: &str = "select current_setting('server_version'), \
             (select extversion from pg_extension where extname = 'timescaledb'), \
             current_setting('fsync'), current_setting('synchronous_commit')";
        let row = self.client.query_one(FACTS, &[]).await?;
        Ok(DatabaseFacts {
            postgresql: row.get(0),
            timescaledb: row.get(1),
            fsync: row.get(2),
            synchronous_commit: row.get(3),
            file_system: self.private.as_ref().and_then(Private::file_system),
        })
    }

    /// Also removes the data of a private server.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        if let Some(Private { server, dir }) = self.private {
            server.stop().await?;
            dir.close()?;
        }
        Ok(())
    }
}

impl Private {
    async fn start(postgres_bin: Option<PathBuf>) -> anyhow::Result<Self> {
        let dir = harness::server_dir();
        let options = EmbeddedOptions { postgres_bin, ..harness::embedded_options(dir.path(), Flavour::Postgres) };
        let server = Embedded::start(&options).await?;
        eprintln!("running {} in {}", server.description(), dir.path().display());
        Ok(Self { server, dir })
    }

    fn file_system(&self) -> Option<String> {
        let output = Command::new("stat").args(["--file-system", "--format=%T"]).arg(self.dir.path()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl fmt::Display for DatabaseFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}", self.postgresql)?;
        match &self.timescaledb {
            Some(version) => write!(f, " with TimescaleDB {version}")?,
            None => write!(f, " without TimescaleDB")?,
        }
        write!(f, ", fsync {}, synchronous_commit {}", self.fsync, self.synchronous_commit)?;
        self.file_system.as_ref().map_or(Ok(()), |file_system| write!(f, ", data on {file_system}"))
    }
}
