use std::{
    io::{self, BufRead, BufReader, pipe},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

/// A program that was killed has closed its log; this bounds what a program costs that gave it to another.
const PATIENCE: Duration = Duration::from_secs(1);

/// Prints what a program logs to standard error as output of the test that started it. So the log of a test that passes is not shown, with `cargo test` as
/// with cargo-nextest; what a program writes there itself always is.
#[derive(Debug)]
#[must_use = "what is printed last is waited for when this is dropped"]
pub struct PrintedLog(Option<JoinHandle<()>>);

impl PrintedLog {
    /// Starts a program.
    pub fn spawn(mut command: Command) -> io::Result<(Child, Self)> {
        let log = Self::of(&mut command);
        Ok((command.spawn()?, log))
    }

    /// Of the programs that a command starts from now on.
    pub(crate) fn of(command: &mut Command) -> Self {
        let (log, end) = pipe().expect("a pipe can be made");
        command.stderr(end);
        // A thread, since what a thread prints belongs to the test that started it, whatever else the test does.
        Self(Some(thread::spawn(move || {
            BufReader::new(log).lines().map_while(Result::ok).for_each(|line| eprintln!("{line}"));
        })))
    }
}

impl Drop for PrintedLog {
    fn drop(&mut self) {
        let Some(printing) = self.0.take() else { return };
        let began = Instant::now();
        while !printing.is_finished() && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
