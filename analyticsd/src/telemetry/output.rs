//! What the daemon says: its log on standard error, and where it listens on standard output. Nothing that it does waits for either.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    panic,
    time::{Duration, Instant},
};

use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::{
    line_writer::{LineWriter, Room},
    log_lines::{DROPPED, LogLines},
    repeated_lines::RepeatedLines,
};

/// How long the end of the process may wait for what is still to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// The log.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A filter of tracing-subscriber, checked.
    pub(crate) filter: String,
    /// How lines are written.
    pub(crate) format: LogFormat,
}

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogConfig {
    /// What to log.
    pub(crate) fn filter(&self) -> EnvFilter {
        // The driver writes what it sends, users' names among it, to whoever asks for everything. It takes asking for it by its name.
        EnvFilter::new(format!("tokio_postgres=info,{}", self.filter))
    }
}

/// See the module. When it is dropped, it waits for a moment until everything is written.
pub struct Output {
    pub(crate) log: LineWriter,
    pub(crate) repeated: RepeatedLines,
    said: LineWriter,
}

impl Output {
    /// From now on the log of this process is written as its settings say. What panics is told there too.
    pub fn start(config: &LogConfig) -> io::Result<Self> {
        // Standard error itself is behind a lock, which a thread that does not come back from it would keep.
        let log = LineWriter::start(file_of(io::stderr())?, |lines| {
            tracing::warn!(target: DROPPED, lines, "lines of the log could not be written and were dropped");
        })?;
        let said = LineWriter::start(file_of(io::stdout())?, |_| ())?;
        let repeated = RepeatedLines::default();
        let has_colours = io::stderr().is_terminal();
        // What could not be formatted would be told on standard error.
        let lines = fmt::layer().log_internal_errors(false);
        let writer = LogLines { writer: log.clone(), has_colours };
        let lines: Box<dyn Layer<_> + Send + Sync> = match config.format {
            LogFormat::Human => lines.with_ansi(has_colours).with_writer(writer).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).with_writer(writer).boxed(),
        };
        Registry::default().with(lines).with(config.filter()).with(repeated.clone()).init();
        panic::set_hook(Box::new(|panic| {
            let backtrace = Backtrace::capture();
            let backtrace =
                (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
            tracing::error!(backtrace, "a bug: {panic}");
        }));
        Ok(Self { log, repeated, said })
    }

    /// Says on standard output what those who started the daemon wait for.
    pub(crate) fn say(&self, line: &str) {
        self.said.leave(format!("{line}\n").as_bytes(), Room::Told);
    }

    /// Says on standard error, beside the log, why the daemon ends.
    pub fn say_error(&self, error: &str) {
        self.log.leave(format!("error: {error}\n").as_bytes(), Room::Reserved);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let end = Instant::now() + PATIENCE;
        for lines in [&self.said, &self.log] {
            lines.flush(end.saturating_duration_since(Instant::now()));
        }
    }
}

fn file_of(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}
