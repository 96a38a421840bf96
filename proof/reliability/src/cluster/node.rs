use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use db::embedded::PostgresBinaries;
use harness::processes::{self, signal};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::sleep,
};
use tokio_postgres::NoTls;

use super::{Owner, Place};
use crate::{options::Options, sabotage::Saboteur};

pub(super) const USER: &str = "analytics";
pub(crate) const DATABASE: &str = "analytics";
const PATIENCE: Duration = Duration::from_mins(1);

/// Small, so that several servers fit on a small machine. A server that is killed leaves no memory behind.
const SETTINGS: &str = "\nshared_buffers = '32MB'\nmax_connections = 100\ndynamic_shared_memory_type = 'mmap'\nwal_keep_size = '512MB'\nmax_wal_size = '256MB'\n\
                        timezone = 'UTC'\nlog_timezone = 'UTC'\n";

/// A PostgreSQL server that lets everyone in, and that others can follow.
pub(crate) struct Node {
    place: Place,
    programs: PostgresBinaries,
    owner: Option<Owner>,
    process: Option<Child>,
    dir: TempDir,
}

impl Node {
    /// A primary with an empty database.
    pub(crate) async fn primary(options: &Options, place: Place) -> anyhow::Result<Self> {
        let mut node = Self::new(options, place)?;
        let data = node.data();
        let mut initdb = node.command("initdb");
        initdb.arg("--pgdata").arg(&data).args(["--username", USER, "--auth", "trust", "--encoding", "UTF8"]);
        run(initdb.args(["--locale", "C", "--no-instructions"])).await?;
        append(&data.join("pg_hba.conf"), "\nhost all all all trust\nhost replication all all trust\n")?;
        append(&data.join("postgresql.conf"), SETTINGS)?;
        if node.programs.has_timescale() {
            let more = "shared_preload_libraries = 'timescaledb'\ntimescaledb.telemetry_level = off\n";
            append(&data.join("postgresql.conf"), more)?;
        }
        node.start().await?;
        Saboteur::connect(&node.url_of("postgres")).await?.make_database(DATABASE).await?;
        Ok(node)
    }

    /// A standby of the server that is reached at this address.
    pub(crate) async fn standby(options: &Options, place: Place, of: SocketAddr) -> anyhow::Result<Self> {
        let mut node = Self::new(options, place)?;
        node.follow(of).await?;
        Ok(node)
    }

    fn new(options: &Options, place: Place) -> anyhow::Result<Self> {
        let programs = options.programs()?;
        let dir = harness::server_dir();
        let owner = Owner::if_root()?;
        if let Some(owner) = owner {
            owner.owns(dir.path())?;
        }
        Ok(Self { place, programs, owner, process: None, dir })
    }

    /// Makes it a standby with a new copy of the other server, and starts it.
    pub(crate) async fn follow(&mut self, other: SocketAddr) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "the server still runs");
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        // A proxy in between reads the stream, so it is not encrypted.
        let (host, port) = (other.ip(), other.port());
        let other = format!("host={host} port={port} user={USER} sslmode=disable gssencmode=disable");
        let mut copy = self.command("pg_basebackup");
        copy.arg("--pgdata").arg(&data).args(["--checkpoint", "fast", "--dbname", &other]);
        run(&mut copy).await?;
        append(&data.join("postgresql.auto.conf"), &format!("primary_conninfo = '{other}'\n"))?;
        File::create(data.join("standby.signal"))?;
        self.start().await
    }

    /// Starts it on the data that it has, and returns once it answers.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let log = File::create(self.dir.path().join("log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        for setting in [
            format!("listen_addresses={}", self.place.ip()),
            format!("port={}", self.place.address().port()),
            format!("unix_socket_directories={}", self.dir.path().display()),
        ] {
            command.args(["-c", &setting]);
        }
        self.process = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        let began = Instant::now();
        while tokio_postgres::connect(&self.url_of("postgres"), NoTls).await.is_err() {
            let ended = self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            if ended || began.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                bail!("the server on {} did not start: {log}", self.place);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Of this server alone.
    pub(crate) fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@{}/{database}?connect_timeout=3", self.place)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join(format!(".s.PGSQL.{}", self.place.address().port()))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// `kill -9` of the main process, whose children then quit by themselves.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let children = process.id().map(processes::children_of).unwrap_or_default();
        process.kill().await?;
        // The next one finds the data in use until the last child has quit.
        processes::ended(&children).await
    }

    /// Stops all of its processes where they are.
    pub(crate) async fn freeze(&self) -> anyhow::Result<()> {
        self.signal_all("STOP").await
    }

    /// Lets them go on.
    pub(crate) async fn thaw(&self) -> anyhow::Result<()> {
        self.signal_all("CONT").await
    }

    async fn signal_all(&self, name: &str) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("the server does not run")?;
        let pid = process.id().context("the server has ended by itself")?;
        signal(pid, name).await?;
        processes::signal_some(&processes::children_of(pid), name).await
    }

    /// The transactions that the server committed on its first timeline behind this place of its log, those inside
    /// others included. The server must not run.
    pub(crate) async fn committed_behind(&self, place: &str) -> anyhow::Result<Vec<i64>> {
        let mut dump = self.command("pg_waldump");
        dump.arg("--path").arg(self.data().join("pg_wal")).args(["--timeline", "1", "--start", place]);
        // It ends with an error, because nothing says where the log ends.
        let output = dump.args(["--rmgr", "Transaction"]).output().await?;
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(!lines.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(lines.lines().filter(|line| line.contains("desc: COMMIT")).flat_map(transactions_in).collect())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.place.command(self.programs.path(program), self.owner);
        command.current_dir(self.dir.path());
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        let Some(pid) = process.id() else { return };
        for name in ["-QUIT", "-CONT"] {
            let _ = std::process::Command::new("kill").args([name, &pid.to_string()]).status();
        }
        for _ in 0..100 {
            if !matches!(process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// In a line of `pg_waldump` about a commit: `… tx: 739, lsn: …, desc: COMMIT 2026-11-29 …; subxacts: 740 741; …`.
fn transactions_in(line: &str) -> Vec<i64> {
    let numbers = |after: &str, until: char| -> Vec<i64> {
        let rest = line.split_once(after).map_or("", |(_, rest)| rest);
        let listed = rest.split_once(until).map_or(rest, |(listed, _)| listed);
        listed.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    [numbers(" tx:", ','), numbers("subxacts:", ';')].concat()
}

fn append(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = File::options().append(true).open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::transactions_in;

    #[test]
    fn the_transactions_of_a_commit_are_read_from_the_servers_log() {
        let line = "rmgr: Transaction len (rec/tot):     66/    66, tx:        739, lsn: 0/0151C138, prev 0/0151C0F8, \
                    desc: COMMIT 2026-11-29 01:20:00.000000 UTC; subxacts: 740 741; inval msgs: catcache 7";
        assert_eq!(transactions_in(line), [739, 740, 741]);
        let line = "rmgr: Transaction len (rec/tot):     34/    34, tx:        742, lsn: 0/0151C180, prev 0/0151C138, \
                    desc: COMMIT 2026-11-29 01:20:00.000000 UTC";
        assert_eq!(transactions_in(line), [742]);
    }
}
