//! The daemon of an earlier commit, built beside the present one, to upgrade from.

use std::{env, fs, path::Path, path::PathBuf};

use anyhow::{Context, ensure};
use tokio::process::Command;

/// The commit to upgrade from. None for as long as the schema may be made anew, since nothing is released; from then on the commit that ends this.
const COMMIT: Option<&str> = None;

/// Builds the daemon of the earlier commit and returns its path, or why there is none.
pub async fn daemon() -> anyhow::Result<Result<PathBuf, &'static str>> {
    let Some(commit) = COMMIT else {
        return Ok(Err("there is no earlier version whose schema this one can upgrade"));
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(&repository).args(arguments);
        git
    };
    let there = git(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).output().await;
    if !there.is_ok_and(|output| output.status.success()) {
        return Ok(Err("the repository does not hold the earlier commit; in a shallow clone, `git fetch --unshallow`"));
    }

    let this = env::current_exe()?;
    let target = target_of(&this).context("the program does not lie in a target folder")?;
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
        run(git(&["archive", "--format=tar", "--output"]).arg(&archive).arg(commit)).await?;
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
    Ok(Ok(program))
}

/// The target folder that a program was built into: programs lie in target/PROFILE, tests in target/PROFILE/deps, both one deeper where the
/// target's name is given. Cargo marks the folder with CACHEDIR.TAG when it makes it; one that was there before, such as a mounted volume, has no such mark.
fn target_of(program: &Path) -> Option<&Path> {
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let profile = || program.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    marked.or_else(|| profile()?.parent())
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().await?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_folder_is_found_with_cargos_mark_and_without() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        let [program, test] = ["debug/reliability", "debug/deps/it-0123"].map(|path| target.join(path));
        for program in [&program, &test] {
            assert_eq!(target_of(program), Some(&*target));
        }
        fs::create_dir(&target).unwrap();
        fs::write(target.join("CACHEDIR.TAG"), "").unwrap();
        for program in [program, test, target.join("x86_64-unknown-linux-musl/debug/deps/it-0123")] {
            assert_eq!(target_of(&program), Some(&*target));
        }
    }
}
