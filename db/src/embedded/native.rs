use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::Instant};
use tokio_postgres::{Config, NoTls};

use super::{Child, Embedded, EmbeddedError, EmbeddedKind, EmbeddedOptions, PostgresBinaries, socket_dir, socket_url};

/// Recovery after a crash replays what was written since the last checkpoint, five minutes' worth at most.
const START_TIMEOUT: Duration = Duration::from_mins(2);
const SUPERUSER: &str = "analytics";
const DATABASE: &str = "analytics";

/// Ends the server when standard input does (see [`Child`]): the shell becomes the server, and a child of it waits for the end of
/// input. SIGINT is PostgreSQL's fast shutdown.
const UNTIL_STDIN_ENDS: &str = r#"exec 3<&0; { cat <&3 >/dev/null; kill -INT $$; } & exec 3<&- </dev/null; exec "$@""#;

pub(super) struct Prerequisites {
    binaries: PostgresBinaries,
    owner: Option<Owner>,
}

/// The unprivileged user that the server runs as when this process is root's: PostgreSQL refuses to be root.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// What starting needs, or why it cannot work here.
pub(super) fn prerequisites(dir: &Path, postgres_bin: Option<&Path>) -> Result<Prerequisites, EmbeddedError> {
    let missing = |reason: String| EmbeddedError::Missing { kind: EmbeddedKind::Native, reason };
    let home = dir.join("native");
    let binaries = match (postgres_bin, major_of_data(&home)) {
        (Some(folder), _) => PostgresBinaries::within(folder)
            .ok_or_else(|| missing(format!("{} does not hold postgres and initdb", folder.display())))?,
        (None, Some(major)) => PostgresBinaries::find_major(&major).ok_or_else(|| {
            missing(format!(
                "{} is of PostgreSQL {major}, whose server is not installed (on Debian: apt-get install postgresql-{major})",
                home.join("data").display()
            ))
        })?,
        (None, None) => PostgresBinaries::find().ok_or_else(|| {
            missing("PostgreSQL's server is not installed (on Debian: apt-get install postgresql)".to_owned())
        })?,
    };
    fs::create_dir_all(&home).map_err(EmbeddedError::folder(&home))?;
    let owner = if id(&["-u"]) == Some(0) {
        Some(unprivileged_owner().ok_or_else(|| missing(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody to run it as".to_owned(),
    ))?)
    } else {
        None
    };
    if let Some(owner) = owner {
        chown(&home, Some(owner.uid), Some(owner.gid)).map_err(EmbeddedError::folder(&home))?;
        let mut test = std::process::Command::new("test");
        test.arg("-w").arg(&home);
        if !as_owner(&mut test, owner).status().is_ok_and(|status| status.success()) {
            return Err(missing(format!(
                "PostgreSQL must not run as root, and the unprivileged user {} cannot reach {}; choose a folder that it can \
                 reach with --embedded=DIR, for example one below /var/lib",
                owner.uid,
                home.display()
            )));
        }
    }
    Ok(Prerequisites { binaries, owner })
}

/// The major version of the server that made the data in the folder, if there are any.
fn major_of_data(home: &Path) -> Option<String> {
    Some(fs::read_to_string(home.join("data/PG_VERSION")).ok()?.trim().to_owned())
}

pub(super) async fn start(dir: &Path, options: &EmbeddedOptions, lock: File) -> Result<Embedded, EmbeddedError> {
    let Prerequisites { binaries, owner } = prerequisites(dir, options.postgres_bin.as_deref())?;
    let home = dir.join("native");
    let data = home.join("data");
    if !data.exists() {
        initdb(&binaries, &home, &data, owner).await?;
    }

    let (sockets, temporary) = socket_dir(&home)?;
    fs::set_permissions(&sockets, fs::Permissions::from_mode(0o700)).map_err(EmbeddedError::folder(&sockets))?;
    if let Some(owner) = owner {
        chown(&sockets, Some(owner.uid), Some(owner.gid)).map_err(EmbeddedError::folder(&sockets))?;
    }
    let server = Server { binaries: &binaries, home: &home, sockets: &sockets, settings: &options.settings, owner };
    let child = server.start().await?;

    let maintenance = config(&sockets, "postgres");
    ensure_database(&maintenance).await?;

    let timescale = if binaries.has_timescale() { ", with TimescaleDB" } else { ", without TimescaleDB" };
    let version = binaries.version().unwrap_or_else(|| "PostgreSQL of unknown version".to_owned());
    Ok(Embedded {
        kind: EmbeddedKind::Native,
        description: format!("{version}{timescale}"),
        url: socket_url(SUPERUSER, DATABASE, &sockets),
        child,
        _lock: lock,
        _socket_dir: temporary,
    })
}

/// Makes the cluster beside its final place and moves it there whole, so that an interrupted start leaves nothing half-made.
async fn initdb(
    binaries: &PostgresBinaries,
    home: &Path,
    data: &Path,
    owner: Option<Owner>,
) -> Result<(), EmbeddedError> {
    let unfinished = home.join("data.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(EmbeddedError::folder(&unfinished))?;
    }
    let mut command = std::process::Command::new(binaries.path("initdb"));
    command
        .arg("--pgdata")
        .arg(&unfinished)
        .args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-instructions"])
        .current_dir(home);
    if let Some(owner) = owner {
        as_owner(&mut command, owner);
    }
    let output = Command::from(command)
        .output()
        .await
        .map_err(|error| EmbeddedError::Failed { what: "initdb", output: error.to_string() })?;
    if !output.status.success() {
        return Err(EmbeddedError::Failed { what: "initdb", output: tail(&output.stderr) });
    }
    fs::rename(&unfinished, data).map_err(EmbeddedError::folder(data))
}

struct Server<'a> {
    binaries: &'a PostgresBinaries,
    home: &'a Path,
    sockets: &'a Path,
    settings: &'a [String],
    owner: Option<Owner>,
}

impl Server<'_> {
    /// Starts the server and waits until it answers. A server that the last run left behind, still shutting down, is waited for.
    async fn start(&self) -> Result<Child, EmbeddedError> {
        let Self { home, sockets, .. } = self;
        let log = home.join("server.log");
        let deadline = Instant::now() + START_TIMEOUT;
        let mut child = self.spawn(&log)?;
        loop {
            let ended = child.process().try_wait().ok().flatten();
            // What answers while another holds the data is the last run's server, in its last moments.
            let is_ours = child.pid().is_some_and(|pid| postmaster(&home.join("data")) == Some(pid));
            if is_ours && config(sockets, "postgres").connect(NoTls).await.is_ok() {
                return Ok(child);
            }
            let said = || tail(&fs::read(&log).unwrap_or_default());
            if Instant::now() > deadline {
                return Err(EmbeddedError::Failed { what: "starting PostgreSQL in time", output: said() });
            }
            if ended.is_some() {
                let output = said();
                if !output.contains("postmaster.pid") {
                    return Err(EmbeddedError::Failed { what: "starting PostgreSQL", output });
                }
                child = self.spawn(&log)?;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn spawn(&self, log: &Path) -> Result<Child, EmbeddedError> {
        let Self { binaries, home, sockets, .. } = self;
        let log_file = File::create(log).map_err(EmbeddedError::folder(log))?;
        let mut settings = vec![
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories={}", sockets.display()),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
        ];
        if binaries.has_timescale() {
            settings.push("shared_preload_libraries=timescaledb".to_owned());
            settings.push("timescaledb.telemetry_level=off".to_owned());
        }
        settings.extend_from_slice(self.settings);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", UNTIL_STDIN_ENDS, "sh"]).arg(binaries.path("postgres")).arg("-D").arg(home.join("data"));
        for setting in settings {
            command.args([OsStr::new("-c"), OsStr::new(&setting)]);
        }
        command.current_dir(home).stdout(log_file.try_clone().map_err(EmbeddedError::folder(log))?).stderr(log_file);
        if let Some(owner) = self.owner {
            as_owner(&mut command, owner);
        }
        Child::spawn(&mut Command::from(command), "PostgreSQL")
    }
}

/// The process that runs on the data, as it says itself in the first line of its lock file.
fn postmaster(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
}

async fn ensure_database(maintenance: &Config) -> Result<(), EmbeddedError> {
    let failed = |error: tokio_postgres::Error| EmbeddedError::Failed {
        what: "making the database",
        output: crate::describe(&error),
    };
    let (client, connection) = maintenance.connect(NoTls).await.map_err(failed)?;
    tokio::spawn(connection);
    let there =
        client.query_opt("select from pg_database where datname = $1", &[&DATABASE]).await.map_err(failed)?.is_some();
    if !there {
        client.batch_execute(&format!("create database {DATABASE}")).await.map_err(failed)?;
    }
    Ok(())
}

fn config(sockets: &Path, database: &str) -> Config {
    let mut config = Config::new();
    config.host_path(sockets).user(SUPERUSER).dbname(database).connect_timeout(Duration::from_secs(5));
    config
}

fn as_owner(command: &mut std::process::Command, owner: Owner) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt;
    command.uid(owner.uid).gid(owner.gid).stdin(Stdio::null())
}

fn unprivileged_owner() -> Option<Owner> {
    ["postgres", "nobody"].iter().find_map(|name| Some(Owner { uid: id(&["-u", name])?, gid: id(&["-g", name])? }))
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = std::process::Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// The last few lines that a program said.
pub(super) fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
