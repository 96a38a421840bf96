use std::{
    fmt,
    path::PathBuf,
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use db::{
    Connected, Flavour, Store, StoreOptions,
    embedded::{Embedded, EmbeddedOptions},
    schema,
};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::{cpu, settings};

/// What a daemon and this program open to each database that a part makes: the daemon up to 22, 2 more for parts of
/// batches over several databases, and this program one.
const CONNECTIONS_BESIDE: u32 = 26;
/// For everything else on a private server. It is what PostgreSQL has without a setting.
const OTHER_CONNECTIONS: u32 = 100;

/// How long statements of clients that have hung up may continue.
const PATIENCE: Duration = Duration::from_mins(1);

/// A given server, or a private one that is removed after the run.
pub(crate) struct Database {
    url: String,
    /// With what the names of databases begin that parts make beside it. No other run has the same.
    beside: String,
    client: Connected,
    store: Store,
    private: Option<Private>,
    /// Of a private server.
    postgres_bin: Option<PathBuf>,
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
    /// Without a URL, starts a private server with the recommended settings, of the programs in `postgres_bin` if that is
    /// given, with room for so many databases beside the first.
    pub(crate) async fn start(
        url: Option<&str>,
        postgres_bin: Option<PathBuf>,
        databases_beside: u32,
    ) -> anyhow::Result<Self> {
        match url {
            Some(url) => Self::open(url.to_owned(), None, None).await,
            None => Self::start_private(postgres_bin, settings::recommended(), databases_beside).await,
        }
    }

    async fn start_private(
        postgres_bin: Option<PathBuf>,
        settings: Vec<String>,
        databases_beside: u32,
    ) -> anyhow::Result<Self> {
        let private = Private::start(postgres_bin.clone(), settings, databases_beside).await?;
        Self::open(private.server.url().to_owned(), Some(private), postgres_bin).await
    }

    /// Another private server of the same programs.
    pub(crate) async fn start_another(&self, settings: Vec<String>) -> anyhow::Result<Self> {
        Self::start_private(self.postgres_bin.clone(), settings, 0).await
    }

    async fn open(url: String, private: Option<Private>, postgres_bin: Option<PathBuf>) -> anyhow::Result<Self> {
        let store = Store::new(&url, store_options())?;
        let client = store.plain_client().await?;
        let beside = format!("bench_{}_{}_", process::id(), Timestamp::now().millis());
        Ok(Self { url, beside, client, store, private, postgres_bin })
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

    /// Fails, saying what is missing, if parts cannot make so many databases beside this one.
    pub(crate) async fn require_room_beside(&self, databases: u32) -> anyhow::Result<()> {
        const ROOM: &str = "select rolname::text, rolsuper or rolcreatedb, \
             current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint \
             - (select count(*) from pg_stat_activity where backend_type = 'client backend') \
             from pg_roles where rolname = current_user";
        if databases == 0 {
            return Ok(());
        }
        with_database(&self.url, &self.beside)?;
        let row = self.client.query_one(ROOM, &[]).await?;
        let (login, may_make): (&str, bool) = (row.get(0), row.get(1));
        ensure!(
            may_make,
            "this run makes {databases} databases beside the given one, which {login} may not do; \
             `alter role \"{login}\" createdb` allows it"
        );
        let (free, needed) = (row.get::<_, i64>(2), i64::from(databases * CONNECTIONS_BESIDE));
        ensure!(
            free >= needed,
            "this run needs {needed} connections for {databases} databases beside the given one, and the server has room for \
             {free}; raise max_connections by {}",
            needed - free
        );
        Ok(())
    }

    /// Makes an empty database beside this one, and returns its URL. The end of the run [removes](Self::stop) it.
    pub(crate) async fn make_beside(&self, name: &str) -> anyhow::Result<String> {
        let name = format!("{}{name}", self.beside);
        let url = with_database(&self.url, &name)?;
        // Images of TimescaleDB have the extension in template1 already.
        self.client.batch_execute(&format!("create database {name} template template0")).await?;
        // Other parameters of the URL may name a database too.
        let client = Store::new(&url, store_options())?.plain_client().await?;
        let connected: String = client.query_one("select current_database()::text", &[]).await?.get(0);
        ensure!(connected == name, "the URL of the database names {connected} in a parameter; name it in the path");
        Ok(url)
    }

    /// The same, but its commits take 2 ms longer: the server waits for others to share a flush with.
    pub(crate) async fn make_slow_beside(&self, name: &str) -> anyhow::Result<String> {
        let url = self.make_beside(name).await?;
        for setting in ["commit_delay = 2000", "commit_siblings = 0"] {
            self.client.batch_execute(&format!("alter database {}{name} set {setting}", self.beside)).await?;
        }
        Ok(url)
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
        const BUSY: &str = "select count(*) from pg_stat_activity \
             where (datname = current_database() or starts_with(datname, $1)) and state = 'active' \
             and backend_type = 'client backend' and pid <> pg_backend_pid()";
        let began = Instant::now();
        while self.client.query_one(BUSY, &[&self.beside]).await?.get::<_, i64>(0) > 0 {
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

    /// Also removes the data of a private server. On a given one it drops the databases that parts made.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        if let Some(Private { server, dir }) = self.private {
            server.stop().await?;
            dir.close()?;
        } else {
            self.drop_beside().await?;
        }
        Ok(())
    }

    async fn drop_beside(&self) -> anyhow::Result<()> {
        const MADE: &str = "select datname::text from pg_database where starts_with(datname, $1)";
        for row in self.client.query(MADE, &[&self.beside]).await? {
            let name: &str = row.get(0);
            if let Err(error) = self.client.batch_execute(&format!("drop database {name} with (force)")).await {
                // The figures are good all the same.
                eprintln!("the database {name} is not dropped: {}", db::describe(&error));
            }
        }
        Ok(())
    }
}

impl Private {
    async fn start(
        postgres_bin: Option<PathBuf>,
        mut settings: Vec<String>,
        databases_beside: u32,
    ) -> anyhow::Result<Self> {
        let dir = harness::server_dir();
        let connections = OTHER_CONNECTIONS + databases_beside * CONNECTIONS_BESIDE;
        settings.push(format!("max_connections={connections}"));
        let options =
            EmbeddedOptions { postgres_bin, settings, ..harness::embedded_options(dir.path(), Flavour::Postgres) };
        let server = Embedded::start(&options).await?;
        eprintln!("running {} in {}", server.description(), dir.path().display());
        Ok(Self { server, dir })
    }

    fn file_system(&self) -> Option<String> {
        let output = Command::new("stat").args(["--file-system", "--format=%T"]).arg(self.dir.path()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// For the sessions of this program.
pub(crate) fn store_options() -> StoreOptions {
    StoreOptions { application_name: "bench".to_owned(), ..StoreOptions::default() }
}

/// The URL of another database on the same server. Its name needs no escapes.
fn with_database(url: &str, name: &str) -> anyhow::Result<String> {
    let form =
        "give --database-url as postgres://USER:PASSWORD@HOST:PORT/DATABASE, for this run makes databases beside it";
    let (scheme, rest) = url.split_once("://").filter(|_| !url.contains(char::is_whitespace)).context(form)?;
    // A password may have a slash or a question mark.
    let (login, place) = rest.split_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let (path, parameters) = place.split_once('?').map_or((place, None), |(path, rest)| (path, Some(rest)));
    let host = path.split_once('/').map_or(path, |(host, _)| host);
    let login = login.map(|login| format!("{login}@")).unwrap_or_default();
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    Ok(format!("{scheme}://{login}{host}/{name}{parameters}"))
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

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn the_url_of_a_database_beside_differs_in_the_name_only() {
        for (url, expected) in [
            ("postgres://ann:a/b?c@h:5432/db?sslmode=require", "postgres://ann:a/b?c@h:5432/beside?sslmode=require"),
            ("postgresql://%2Ftmp%2Fsockets/db", "postgresql://%2Ftmp%2Fsockets/beside"),
            ("postgres://ann@h", "postgres://ann@h/beside"),
            ("postgres:///db?host=/tmp", "postgres:///beside?host=/tmp"),
        ] {
            assert_eq!(with_database(url, "beside").unwrap(), expected);
        }
    }

    #[test]
    fn a_url_in_words_has_none_beside_it() {
        for url in ["host=h dbname=db", "host=h password=a://b"] {
            let error = with_database(url, "beside").unwrap_err().to_string();
            assert!(error.starts_with("give --database-url as postgres://"), "{error}");
        }
    }
}
