use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::tally::Tally;
use crate::{failure::Failure, output};

/// How often the file is written.
const PAUSE: Duration = Duration::from_secs(1);

/// How far logs that are followed are behind, for Prometheus: a file as its node exporter's textfile collector reads it.
pub(crate) struct Lag {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Vec<FileState>,
    written: Option<Instant>,
    has_failed: bool,
}

struct FileState {
    path: PathBuf,
    position: u64,
    /// When the oldest event was read that is not stored.
    oldest: Option<Instant>,
    events: u64,
}

impl Lag {
    /// Without a path nothing is written.
    pub(crate) fn begin(path: Option<&Path>) -> Result<Self, Failure> {
        let lag = Self { path: path.map(Path::to_owned), state: Mutex::default() };
        let written = lag.path.as_ref().map_or(Ok(()), |path| write_file(path, ""));
        let fault = |error| Failure::CannotRun(format!("cannot write the --metrics file: {error}; name another one"));
        written.map(|()| lag).map_err(fault)
    }

    pub(crate) fn of_file(&self, path: &Path) -> OfFile<'_> {
        let mut state = self.lock();
        state.files.push(FileState { path: path.to_owned(), position: 0, oldest: None, events: 0 });
        OfFile { lag: self, place: state.files.len() - 1 }
    }

    /// Writes the file, also if it was written a moment ago.
    pub(crate) fn write(&self) {
        let Some(path) = &self.path else { return };
        let mut state = self.lock();
        state.written = Some(Instant::now());
        let failed = write_file(path, &text(&state.files)).err();
        if let Some(error) = &failed
            && !state.has_failed
        {
            output::message(&format!("cannot write the --metrics file: {error}"));
        }
        state.has_failed = failed.is_some();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of one file.
pub(crate) struct OfFile<'a> {
    lag: &'a Lag,
    place: usize,
}

impl OfFile<'_> {
    /// Notes up to where the log is stored, and when the oldest event was read that is not.
    pub(super) fn note(&self, position: u64, oldest: Option<Instant>, tally: &Tally) {
        let is_due = {
            let mut state = self.lag.lock();
            let file = &mut state.files[self.place];
            file.position = position;
            file.oldest = oldest;
            file.events = tally.new.events();
            state.written.is_none_or(|written| written.elapsed() >= PAUSE)
        };
        if is_due {
            self.lag.write();
        }
    }
}

/// Written beside it and renamed, so that nobody reads a half of it.
fn write_file(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

/// A name, a kind, a help, and the value of a file.
type Metric<'a> = (&'a str, &'a str, &'a str, &'a dyn Fn(&FileState) -> String);

fn text(files: &[FileState]) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let bytes = |file: &FileState| {
        let length = fs::metadata(&file.path).map_or(0, |metadata| metadata.len());
        length.saturating_sub(file.position).to_string()
    };
    let seconds = |file: &FileState| file.oldest.map_or(0.0, |oldest| oldest.elapsed().as_secs_f64()).to_string();
    let metrics: [Metric<'_>; 4] = [
        ("lag_bytes", "gauge", "How much of the log is not stored.", &bytes),
        ("lag_seconds", "gauge", "How long ago the oldest event was read that is not stored.", &seconds),
        ("events_total", "counter", "Events of the log that were stored.", &|file| file.events.to_string()),
        ("written_timestamp_seconds", "gauge", "When this was written, since 1970.", &|_| now.to_string()),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in metrics {
        let _ = writeln!(text, "# HELP analytics_import_{name} {help}\n# TYPE analytics_import_{name} {kind}");
        for file in files {
            let label = file.path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = writeln!(text, "analytics_import_{name}{{file=\"{label}\"}} {}", value(file));
        }
    }
    text
}
