use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::Path,
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::{Instant, sleep},
};

use super::{Child, Embedded, EmbeddedError, EmbeddedKind, native::tail, socket_dir, socket_url};

/// The server's files, written out beside its data, so that one binary is all there is to install.
const FILES: [(&str, &str); 4] = [
    ("package.json", include_str!("wasm-server/package.json")),
    ("package-lock.json", include_str!("wasm-server/package-lock.json")),
    ("front.mjs", include_str!("wasm-server/front.mjs")),
    ("serve.mjs", include_str!("wasm-server/serve.mjs")),
];
const OLDEST_NODE: u32 = 18;
/// Starting takes two seconds the first time, half a second later; a busy machine and recovery after a crash come on top.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// What the server prints once it answers.
#[derive(Deserialize)]
struct Ready {
    server_version: String,
    timescaledb: String,
}

pub(super) async fn start(dir: &Path, server: Option<&Path>, lock: File) -> Result<Embedded, EmbeddedError> {
    let home = dir.join("wasm");
    let server = server.map_or_else(|| home.join("server"), Path::to_owned);
    install(&server).await?;
    let (sockets, temporary) = socket_dir(&home)?;
    let socket = sockets.join(".s.PGSQL.5432");
    let log = home.join("server.log");
    let log_file = log_of_the_only_server(&home, &log).await?;
    remove_socket(&socket)?;

    let mut command = Command::new("node");
    command.arg(server.join("serve.mjs")).arg(home.join("data")).arg(&socket).stdout(Stdio::piped()).stderr(log_file);
    let mut child = Child::spawn(&mut command, "node")?;
    // From here on the server alone has the log open, and with it the lock.
    drop(command);
    let ready = tokio::time::timeout(START_TIMEOUT, ready_line(&mut child)).await.ok().flatten();
    let Some(Ready { server_version, timescaledb }) = ready else {
        return Err(EmbeddedError::Failed {
            what: "starting the WebAssembly database",
            output: tail(&fs::read(&log).unwrap_or_default()),
        });
    };
    Ok(Embedded {
        kind: EmbeddedKind::Wasm,
        description: format!("PostgreSQL {server_version} with TimescaleDB {timescaledb} in WebAssembly"),
        url: socket_url("postgres", "postgres", &sockets),
        child,
        _lock: lock,
        _socket_dir: temporary,
    })
}

/// The file for what the server says, empty, and locked for as long as any process has it open: a server inherits the lock together with
/// the file. The lock on the folder does not do for this. It ends with the daemon, while a server whose daemon was killed may still be
/// writing its data, and would then remove the socket of the next.
async fn log_of_the_only_server(home: &Path, log: &Path) -> Result<File, EmbeddedError> {
    fs::create_dir_all(home).map_err(EmbeddedError::folder(home))?;
    let file = File::options().create(true).append(true).open(log).map_err(EmbeddedError::folder(log))?;
    let began = Instant::now();
    let mut waits = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(EmbeddedError::folder(log)(source)),
            Err(TryLockError::WouldBlock) if began.elapsed() >= START_TIMEOUT => {
                return Err(EmbeddedError::Failed {
                    what: "waiting for the last run's WebAssembly database to end",
                    output: format!(
                        "a process still has {log} open after {START_TIMEOUT:?}; `fuser {log}` names it. End it and start again",
                        log = log.display()
                    ),
                });
            }
            Err(TryLockError::WouldBlock) if !waits => {
                tracing::info!(log = %log.display(), "waiting for the last run's WebAssembly database to end, which still has its log open");
                waits = true;
            }
            Err(TryLockError::WouldBlock) => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
    file.set_len(0).map_err(EmbeddedError::folder(log))?;
    Ok(file)
}

/// Removes what a server that was killed left behind. One that ended in an orderly way left nothing.
fn remove_socket(socket: &Path) -> Result<(), EmbeddedError> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(EmbeddedError::folder(socket)(error)),
        _ => Ok(()),
    }
}

async fn ready_line(child: &mut Child) -> Option<Ready> {
    let stdout = child.process().stdout.take()?;
    let line = BufReader::new(stdout).lines().next_line().await.ok()??;
    serde_json::from_str(&line).ok()
}

/// Writes the server's files and lets npm install what they need, unless that was done before with the same lock file.
async fn install(server: &Path) -> Result<(), EmbeddedError> {
    let missing = |reason: String| EmbeddedError::Missing { kind: EmbeddedKind::Wasm, reason };
    match node_version().await {
        None => {
            return Err(missing(format!(
                "Node.js is not installed; version {OLDEST_NODE} or later is needed, with npm"
            )));
        }
        Some(version) if version < OLDEST_NODE => {
            return Err(missing(format!("Node.js is version {version}, and {OLDEST_NODE} or later is needed")));
        }
        Some(_) => {}
    }

    fs::create_dir_all(server).map_err(EmbeddedError::folder(server))?;
    let lock_path = server.join("install.lock");
    let install_lock = File::create(&lock_path).map_err(EmbeddedError::folder(&lock_path))?;
    // Blocks this thread for as long as another process installs into the same folder, which happens once.
    install_lock.lock().map_err(EmbeddedError::folder(&lock_path))?;
    for (name, content) in FILES {
        let path = server.join(name);
        if !fs::read_to_string(&path).is_ok_and(|there| there == content) {
            fs::write(&path, content).map_err(EmbeddedError::folder(&path))?;
        }
    }
    let installed = server.join("node_modules/.installed-from");
    let lock_file = FILES[1].1;
    if fs::read_to_string(&installed).is_ok_and(|from| from == lock_file) {
        return Ok(());
    }
    tracing::info!("installing TimescaleDB in WebAssembly with npm; this is done once");
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(server)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| missing(format!("npm cannot be run ({error}); it comes with Node.js")))?;
    if !output.status.success() {
        return Err(EmbeddedError::Failed { what: "npm ci", output: tail(&output.stderr) });
    }
    fs::write(&installed, lock_file).map_err(EmbeddedError::folder(&installed))
}

async fn node_version() -> Option<u32> {
    let output = Command::new("node").arg("--version").output().await.ok()?;
    String::from_utf8_lossy(&output.stdout).trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}
