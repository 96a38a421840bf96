//! The output of the daemon: the log on standard error, and its addresses on standard output. No other part of the
//! daemon waits for either.

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

/// How long the end of the process may wait for unwritten lines.
const PATIENCE: Duration = Duration::from_secs(2);

/// The settings of the log.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A filter of tracing-subscriber, already checked.
    pub(crate) filter: String,
    /// The format of lines.
    pub(crate) format: LogFormat,
}

/// The format of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogConfig {
    /// The filter for tracing-subscriber.
    pub(crate) fn filter(&self) -> EnvFilter {
        // At level debug the driver logs what it sends, including users' names. It does so only if the filter names it.
        EnvFilter::new(format!("tokio_postgres=info,{}", self.filter))
    }
}

/// See the module. Dropping it waits for a moment until everything is written.
pub struct Output {
    pub(crate) log: LineWriter,
    pub(crate) repeated: RepeatedLines,
    stdout: LineWriter,
}

impl Output {
    /// Starts the log of this process. Panics are logged too.
    pub fn start(config: &LogConfig) -> io::Result<Self> {
        // Rust's own handle of standard error has a lock, and a thread that hangs in a write would keep it.
        let log = LineWriter::start(file_of(io::stderr())?, |lines| {
            tracing::warn!(target: DROPPED, lines, "lines of the log could not be written and were dropped");
        })?;
        let stdout = LineWriter::start(file_of(io::stdout())?, |_| ())?;
        let repeated = RepeatedLines::default();
        let has_colours = io::stderr().is_terminal();
        // Otherwise tracing-subscriber would write errors of formatting to standard error directly.
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
        Ok(Self { log, repeated, stdout })
    }

    /// Prints a line on standard output.
    pub(crate) fn print(&self, line: &str) {
        self.stdout.enqueue(format!("{line}\n").as_bytes(), Room::Normal);
    }

    /// Prints on standard error, beside the log, why the daemon ends.
    pub fn print_error(&self, error: &str) {
        self.log.enqueue(format!("error: {error}\n").as_bytes(), Room::Reserved);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let end = Instant::now() + PATIENCE;
        for lines in [&self.stdout, &self.log] {
            lines.flush(end.saturating_duration_since(Instant::now()));
        }
    }
}

fn file_of(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}
