use std::{process::Stdio, time::Duration};

use tokio::process::{ChildStdin, Command};

use super::EmbeddedError;

/// A clean stop takes as long as the server needs to write what it holds in memory; a minute is generous for a trial database.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);

/// A server that ends when its standard input does. The system closes that however this process ends, so no server is left
/// behind, and no database is stopped without having been told to.
pub(super) struct Child {
    process: tokio::process::Child,
    stdin: ChildStdin,
}

impl Child {
    pub(super) fn spawn(command: &mut Command, what: &'static str) -> Result<Self, EmbeddedError> {
        let failed = |output: String| EmbeddedError::Failed { what, output };
        // A group of its own: Ctrl-C in a terminal goes to the daemon alone, which then stops the database as its last act.
        let mut process =
            command.stdin(Stdio::piped()).process_group(0).spawn().map_err(|error| failed(error.to_string()))?;
        let stdin = process.stdin.take().ok_or_else(|| failed("it has no standard input".to_owned()))?;
        Ok(Self { process, stdin })
    }

    pub(super) fn process(&mut self) -> &mut tokio::process::Child {
        &mut self.process
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Resolves when the server has ended by itself.
    pub(super) async fn ended(&mut self) {
        let _ = self.process.wait().await;
    }

    pub(super) async fn stop(mut self) -> Result<(), EmbeddedError> {
        drop(self.stdin);
        let failed = |output: String| EmbeddedError::Failed { what: "stopping the embedded database", output };
        let status = tokio::time::timeout(STOP_TIMEOUT, self.process.wait())
            .await
            .map_err(|_| failed(format!("it still ran after {STOP_TIMEOUT:?}")))?
            .map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
    }
}
