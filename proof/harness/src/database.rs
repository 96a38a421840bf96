use std::{
    env,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use db::{
    Examination, Flavour, Store, StoreOptions,
    embedded::{Embedded, EmbeddedKind, EmbeddedOptions},
    schema,
};
use tempfile::TempDir;
use tokio_postgres::{Config, NoTls};

/// A database that belongs to one test and is removed after it.
pub struct TestDatabase {
    url: String,
    store: Store,
    home: Home,
    /// Logins made for this database, which belong to the whole server.
    logins: Mutex<Vec<String>>,
}

enum Home {
    /// On a server that other tests use too.
    Shared { server_url: String, name: String },
    /// On its own server.
    Own { server: Box<Embedded>, _dir: TempDir },
}

impl TestDatabase {
    /// Empty, with the current schema.
    pub async fn new(flavour: Flavour) -> Self {
        let template = match flavour {
            Flavour::Postgres => None,
            Flavour::Timescale => env::var_os(TIMESCALE_TEMPLATE),
        };
        let database = Self::start(flavour, template.as_deref().map(Path::new)).await;
        // A copy of the template has the schema already.
        schema::migrate(&database.store, Some(flavour)).await.expect("the schema can be made");
        database
    }

    /// Empty, on a server that can hold the flavour.
    pub async fn without_schema(flavour: Flavour) -> Self {
        Self::start(flavour, None).await
    }

    async fn start(flavour: Flavour, template: Option<&Path>) -> Self {
        let shared = match flavour {
            Flavour::Postgres => env::var("TEST_POSTGRES_URL"),
            Flavour::Timescale => env::var("TEST_TIMESCALE_URL"),
        };
        let (url, home) = if let Ok(server_url) = shared {
            let name = unique_name();
            // Images of TimescaleDB have the extension in template1 already.
            on_server(&server_url, &format!("create database {name} template template0")).await;
            (with_database(&server_url, &name), Home::Shared { server_url, name })
        } else {
            let dir = server_dir();
            if let Some(template) = template {
                copy(template, dir.path());
            }
            let server =
                Embedded::start(&embedded_options(dir.path(), flavour)).await.expect("the embedded database starts");
            (server.url().to_owned(), Home::Own { server: Box::new(server), _dir: dir })
        };
        let store = Store::new(&url, StoreOptions::default()).expect("the URL is valid");
        Self { url, store, home, logins: Mutex::default() }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// For a new login that is a member of these roles only. Not in WebAssembly, where every login is the superuser.
    pub async fn url_of_member(&self, roles: &[&str]) -> String {
        let login = unique_name();
        self.logins.lock().expect("no thread panicked with it").push(login.clone());
        let client = self.client().await;
        client.batch_execute(&format!("create role {login} login")).await.expect("a login can be made");
        for role in roles {
            // Another test may change the role at the same time.
            while client.batch_execute(&format!("grant {role} to {login}")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let (_, place) = self.url.split_once('@').expect("the URL names a user");
        format!("postgres://{login}@{place}")
    }

    /// Lets only superusers, the owner and members of the roles connect, with the statements that `analytics-cli
    /// doctor` prints.
    pub async fn close_to_strangers(&self, flavour: Flavour) {
        let examination = Examination::new(&self.store, Duration::from_secs(30));
        let access = examination.access(flavour).await.expect("the rights can be looked at");
        assert!(!access.admission.is_empty(), "every login may connect to a new database: {access:?}");
        self.client().await.batch_execute(&access.admission.join("; ")).await.expect("the statements can be run");
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A connection beside the store, to read or change the tables directly.
    pub async fn client(&self) -> tokio_postgres::Client {
        connect(&self.url.parse().expect("the URL is valid")).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        match &self.home {
            Home::Shared { server_url, name } => {
                let server_url = server_url.clone();
                let mut statements = vec![format!("drop database if exists {name} with (force)")];
                let logins = self.logins.lock().map(|logins| logins.clone()).unwrap_or_default();
                statements.extend(logins.iter().map(|login| format!("drop role if exists {login}")));
                // A drop cannot await, so the last statement runs on a thread of its own.
                let dropped = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.expect("a runtime can be made").block_on(async {
                        for statement in &statements {
                            on_server(&server_url, statement).await;
                        }
                    });
                });
                if dropped.join().is_err() {
                    eprintln!("the database {name} was not removed");
                }
            }
            // A regular stop would write data into a folder that is about to be removed.
            Home::Own { server, .. } => {
                if let Some(pid) = server.pid() {
                    let _ = process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
                }
            }
        }
    }
}

/// The variable with the folder of an embedded TimescaleDB that holds only the current schema. A copy takes a
/// fraction of the time that a new database with its schema takes.
pub const TIMESCALE_TEMPLATE: &str = "TEST_TIMESCALE_TEMPLATE";

/// Makes the folder for [`TIMESCALE_TEMPLATE`].
pub async fn make_timescale_template(dir: &Path) -> anyhow::Result<()> {
    let server = Embedded::start(&embedded_options(dir, Flavour::Timescale)).await?;
    let store = Store::new(server.url(), StoreOptions::default())?;
    schema::migrate(&store, Some(Flavour::Timescale)).await?;
    server.stop().await?;
    Ok(())
}

/// `cp` copies files faster than the standard library.
fn copy(from: &Path, to: &Path) {
    let status = process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().expect("cp can be run");
    assert!(status.success(), "{} can be copied", from.display());
}

/// A temporary folder that is readable for a server that runs as another user.
pub fn server_dir() -> TempDir {
    let readable = Permissions::from_mode(0o755);
    let dir = tempfile::Builder::new().prefix("analytics-test-").permissions(readable).tempdir();
    dir.expect("a temporary folder can be made")
}

/// The options of an embedded database for a flavour.
pub fn embedded_options(dir: &Path, flavour: Flavour) -> EmbeddedOptions {
    let kind = match flavour {
        Flavour::Postgres => EmbeddedKind::Native,
        Flavour::Timescale => EmbeddedKind::Wasm,
    };
    EmbeddedOptions {
        dir: dir.to_owned(),
        kind: Some(kind),
        postgres_bin: None,
        wasm_server: Some(wasm_server()),
        ..Default::default()
    }
}

/// All tests share this installation of the WebAssembly server, which is kept between runs.
fn wasm_server() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/harness/wasm-server")
}

fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}_{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The name needs no escapes in a URL.
pub(crate) fn with_database(server_url: &str, name: &str) -> String {
    let (base, query) = server_url.split_once('?').map_or((server_url, String::new()), |(b, q)| (b, format!("?{q}")));
    let server = base.rsplit_once('/').map_or(base, |(server, _)| server);
    format!("{server}/{name}{query}")
}

async fn on_server(server_url: &str, statement: &str) {
    let client = connect(&server_url.parse().expect("the URL of the server is valid")).await;
    client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {}", db::describe(&error)));
}

pub(crate) async fn connect(config: &Config) -> tokio_postgres::Client {
    let (client, connection) = config.connect(NoTls).await.expect("the database answers");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}
