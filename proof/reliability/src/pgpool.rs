//! pgpool-II in front of a server, as Debian ships it (package `pgpool2`).

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};
use tokio_postgres::NoTls;

const PROGRAM: &str = "/usr/sbin/pgpool";
const PATIENCE: Duration = Duration::from_mins(1);

/// On a socket of its own. Ended with its children when it is dropped.
pub(crate) struct Pgpool {
    process: Child,
    url: String,
    _dir: TempDir,
}

impl Pgpool {
    pub(crate) fn is_installed() -> bool {
        Path::new(PROGRAM).exists()
    }

    /// Returns once it answers.
    pub(crate) async fn start(server_url: &str, socket: &Path) -> anyhow::Result<Self> {
        let config: tokio_postgres::Config = server_url.parse()?;
        let (user, database) = (config.get_user().unwrap_or_default(), config.get_dbname().unwrap_or_default());
        let server = socket.parent().context("a socket lies in a folder")?.display();
        let dir = harness::server_dir();
        let folder = dir.path().display();
        let file = dir.path().join("pgpool.conf");
        // `DISALLOW_TO_FAILOVER`: one ended connection must not make it give up the server.
        fs::write(
            &file,
            format!(
                "backend_clustering_mode = 'raw'\nlisten_addresses = ''\nport = 9999\nunix_socket_directories = '{folder}'\nsocket_dir = '{folder}'\n\
                 pcp_listen_addresses = ''\npcp_socket_dir = '{folder}'\npid_file_name = '{folder}/pid'\nlogdir = '{folder}'\nwork_dir = '{folder}'\n\
                 backend_hostname0 = '{server}'\nbackend_port0 = 5432\nbackend_weight0 = 1\nbackend_flag0 = 'DISALLOW_TO_FAILOVER'\n\
                 failover_on_backend_error = off\nhealth_check_period = 0\nsr_check_period = 0\nenable_pool_hba = off\n\
                 num_init_children = 64\nmax_pool = 1\nload_balance_mode = off\nmemory_cache_enabled = off\n"
            ),
        )?;
        let mut command = Command::new("setpriv");
        // Only the server's user may use its socket.
        let owner = fs::metadata(socket)?;
        let (uid, gid) = {
            use std::os::unix::fs::MetadataExt;
            (owner.uid(), owner.gid())
        };
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
        chown(&file, Some(uid), Some(gid))?;
        let (as_user, with_group) = (format!("--reuid={uid}"), format!("--regid={gid}"));
        command.args([as_user.as_str(), &with_group, "--clear-groups", PROGRAM, "-n", "-f"]).arg(&file);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        let url = format!("postgres://{user}@/{database}?host={folder}&port=9999");
        let mut pgpool = Self { process, url, _dir: dir };
        let answers = async {
            while tokio_postgres::connect(&pgpool.url, NoTls).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(PATIENCE, answers).await.is_err() {
            bail!("pgpool-II does not answer; it ended with {:?}", pgpool.process.try_wait());
        }
        Ok(pgpool)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Pgpool {
    /// Its children would survive a `kill -9`.
    fn drop(&mut self) {
        if let Some(pid) = self.process.id() {
            let _ = std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status();
            for _ in 0..100 {
                if !matches!(self.process.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
