use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::ensure;
use harness::{End, PrivateServer};
use tokio::process::Command;

use crate::options::Options;

/// A copy of a server's data, as a backup makes one of a server that runs.
pub(crate) struct Backup {
    copy: PathBuf,
}

impl Backup {
    pub(crate) async fn of(options: &Options, server: &PrivateServer) -> anyhow::Result<Self> {
        let (data, copy) = (data(server), server.dir().join("native/copy"));
        let mut backup = Command::new(options.programs()?.path("pg_basebackup"));
        backup.args(["--checkpoint", "fast", "--no-sync", "--dbname", server.url(), "--pgdata"]).arg(&copy);
        run_program(&mut backup).await?;
        run_program(Command::new("chown").arg("--recursive").arg(reference(&data)).arg(&copy)).await?;
        Ok(Self { copy })
    }

    /// The server crashes, and the copy takes the place of its data. Returns once the server answers.
    pub(crate) async fn restore(self, server: &mut PrivateServer) -> anyhow::Result<()> {
        server.end(End::Immediate).await?;
        tokio::fs::remove_dir_all(data(server)).await?;
        tokio::fs::rename(&self.copy, data(server)).await?;
        server.start_again().await
    }
}

fn data(server: &PrivateServer) -> PathBuf {
    server.dir().join("native/data")
}

/// The owner of the other folder, as an option of `chown`.
fn reference(other: &Path) -> String {
    format!("--reference={}", other.display())
}

async fn run_program(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
