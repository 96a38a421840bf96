//! The daemon of an earlier commit, built beside the present one, to upgrade from.

use std::{env, fs, path::Path, path::PathBuf};

use anyhow::{Context, ensure};
use tokio::process::Command;

/// The last commit before the schema said which builds it bears; its schema ends with V28. Any later one can be upgraded from as well.
const COMMIT: &str = "831b8a63937722e5f2a6f5c30ede396cd36c6eea";

/// Builds the daemon of the earlier commit and returns its path; none where its source is not to be had, as in a shallow clone.
pub async fn daemon() -> anyhow::Result<Option<PathBuf>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(&repository).args(arguments);
        git
    };
    let there = git(&["cat-file", "-e", &format!("{COMMIT}^{{commit}}")]).output().await;
    if !there.is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }

    // Programs lie in target/PROFILE, tests in target/PROFILE/deps.
    let this = env::current_exe()?;
    let target = this.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).context("no target folder")?;
    let home = target.join("earlier");
    fs::create_dir_all(&home)?;
    // Another test may want it at the same moment.
    let lock = fs::File::create(home.join("lock"))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    let program = home.join("target/debug/analyticsd");
    if !program.is_file() {
        let source = home.join("source");
        fs::create_dir_all(&source)?;
        let archive = home.join("source.tar");
        run(git(&["archive", "--format=tar", "--output"]).arg(&archive).arg(COMMIT)).await?;
        run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&source)).await?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        run(Command::new(cargo)
            .kill_on_drop(true)
            .args(["build", "--quiet", "--locked", "--package", "analyticsd", "--target-dir"])
            .arg(home.join("target"))
            .current_dir(&source))
        .await?;
    }
    drop(lock);
    Ok(Some(program))
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().await?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
