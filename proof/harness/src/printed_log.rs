use std::{
    io::{self, BufRead, BufReader, pipe},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

/// A program that was killed has closed its log. This bounds the wait for a program that passed its log on to another
/// one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Prints a program's log as output of the test that started it, so that the log of a test that passes is not shown,
/// with `cargo test` as with cargo-nextest.
#[derive(Debug)]
#[must_use = "the drop waits for the last lines"]
pub struct PrintedLog(Option<JoinHandle<()>>);

impl PrintedLog {
    pub fn spawn(mut command: Command) -> io::Result<(Child, Self)> {
        let log = Self::of(&mut command);
        Ok((command.spawn()?, log))
    }

    /// The log of all programs that the command starts from now on.
    pub(crate) fn of(command: &mut Command) -> Self {
        let (log, end) = pipe().expect("a pipe can be made");
        command.stderr(end);
        // The output of a thread belongs to the test that started it.
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
