use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio_postgres::{Config, NoTls, config::Host};

use crate::server_dir;

/// What a pooler gives out sessions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// As long as a client is connected.
    Session,
    /// A transaction at a time.
    Transaction,
    /// A statement at a time.
    Statement,
}

/// A `PgBouncer` in front of a database, on a socket of its own. Killed with the test.
pub struct Pooler {
    process: Option<Child>,
    url: String,
    dir: TempDir,
}

impl Pooler {
    /// Starts it with so many sessions and a line that says in which order it gives them out, or nothing, and returns once it answers.
    pub async fn start(database_url: &str, mode: PoolMode, sessions: u32, order: &str) -> Self {
        let config: Config = database_url.parse().expect("the URL is valid");
        let (user, database) = (config.get_user().expect("a user"), config.get_dbname().expect("a database"));
        let host = match &config.get_hosts()[0] {
            Host::Tcp(host) => host.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let password = config.get_password().map(|password| format!("password={}", String::from_utf8_lossy(password)));
        let password = password.unwrap_or_default();
        let mode = match mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
            PoolMode::Statement => "statement",
        };
        let dir = server_dir();
        let folder = dir.path().display();
        let file = dir.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n{database} = host={host} port={port} dbname={database} user={user} {password}\n\
             [pgbouncer]\nunix_socket_dir = {folder}\nlisten_addr =\nlisten_port = 6432\nauth_type = any\n\
             logfile = {folder}/log\npool_mode = {mode}\ndefault_pool_size = {sessions}\n{order}\n"
        );
        fs::write(&file, settings).expect("the settings can be written");

        // It refuses to run as root, and must be able to write into its folder then.
        if let Some((_, id)) = root_becomes() {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("its folder can be opened to it");
            chown(&file, Some(id), None).expect("its settings can be given to it");
        }
        let url = format!("postgres://{user}@/{database}?host={folder}&port=6432");
        let mut pooler = Self { process: None, url, dir };
        pooler.start_again().await;
        pooler
    }

    /// Ends it, with all connections through it.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it where it was before, and returns once it answers.
    pub async fn start_again(&mut self) {
        for left in [".s.PGSQL.6432", ".s.PGSQL.6432.lock"] {
            let _ = fs::remove_file(self.dir.path().join(left));
        }
        let mut command = Command::new(program());
        if let Some((user, _)) = root_becomes() {
            command.args(["-u", user]);
        }
        let process =
            command.arg(self.dir.path().join("pgbouncer.ini")).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.process = Some(process.expect("pgbouncer can be run: `scripts/prerequisites tests` installs it"));
        let answers = async {
            while tokio_postgres::connect(&self.url, NoTls).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), answers).await.expect("the pooler answers");
    }

    /// Where to connect.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program() -> &'static str {
    let usual = "/usr/sbin/pgbouncer";
    if Path::new(usual).exists() { usual } else { "pgbouncer" }
}

/// The user that the server runs as too, whose socket nobody else reaches, with its number, if this is root.
fn root_becomes() -> Option<(&'static str, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"])? != 0 {
        return None;
    }
    ["postgres", "nobody"].into_iter().find_map(|user| Some((user, id(&["-u", user])?)))
}
