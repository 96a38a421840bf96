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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    Session,
    Transaction,
    Statement,
}

/// A `PgBouncer` in front of a database, on a socket of its own. Killed with the test.
pub struct Pooler {
    process: Option<Child>,
    url: String,
    dir: TempDir,
}

impl Pooler {
    /// `order` is a line of the settings for the order in which sessions are given out, or empty. Returns once the
    /// pooler answers.
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

        // It refuses to run as root, and its user must be able to write to its folder.
        if let Some((_, id)) = root_becomes() {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("its folder can be opened to it");
            chown(&file, Some(id), None).expect("its settings can be given to it");
        }
        let url = format!("postgres://{user}@/{database}?host={folder}&port=6432");
        let mut pooler = Self { process: None, url, dir };
        pooler.start_again().await;
        pooler
    }

    /// Also ends all connections through it.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it at the same address, and returns once it answers.
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

/// If this is root: the user of the database server, who alone may use its socket, with its number.
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
