//! Builds the programs of an earlier commit.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::servers::Programs;

const PROGRAMS: [&str; 2] = ["analyticsd", "analytics-cli"];

pub(crate) struct Earlier {
    /// Abbreviated.
    pub(crate) commit: String,
    pub(crate) programs: Programs,
}

impl Earlier {
    /// Keeps what it builds below cargo's target folder, so that the same commit is built once.
    pub(crate) fn build(commit: &str) -> anyhow::Result<Self> {
        // A tree or a file has a name too.
        let name = format!("{commit}^{{commit}}");
        let commit = git(&["rev-parse", "--verify", "--quiet", "--short=12", "--end-of-options", &name])
            .with_context(|| format!("there is no commit {commit}"))?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let against = std::path::absolute(target.join("against"))?;
        let kept = against.join(&commit);
        let [daemon, cli] = PROGRAMS.map(|name| kept.join(name));
        if !(daemon.is_file() && cli.is_file()) {
            build(&commit, &against, &kept).with_context(|| format!("cannot build the programs of {commit}"))?;
        }
        Ok(Self { programs: Programs::of_earlier(daemon, cli)?, commit })
    }
}

fn build(commit: &str, against: &Path, kept: &Path) -> anyhow::Result<()> {
    eprintln!("building the programs of {commit}");
    let (sources, build) = (against.join("sources"), against.join("build"));
    let path = sources.to_str().context("the path of the target folder is not UTF-8")?;
    // One that was interrupted may have left it.
    let _ = fs::remove_dir_all(&sources);
    git(&["worktree", "prune"])?;
    git(&["worktree", "add", "--quiet", "--detach", path, commit])?;
    let outcome = cargo(&sources, &build);
    git(&["worktree", "remove", "--force", path])?;
    outcome?;
    fs::create_dir_all(kept)?;
    for name in PROGRAMS {
        fs::copy(build.join("release").join(name), kept.join(name)).with_context(|| format!("cannot keep {name}"))?;
    }
    Ok(())
}

fn cargo(sources: &Path, build: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--locked", "--target-dir"]).arg(build).current_dir(sources);
    command.args(PROGRAMS.iter().flat_map(|name| ["--package", name]));
    if !command.status().context("cannot run cargo")?.success() {
        bail!("cargo failed");
    }
    Ok(())
}

fn git(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").args(arguments).output().context("cannot run git")?;
    if !output.status.success() {
        bail!("git {} failed {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Earlier;

    #[test]
    fn an_unknown_commit_is_named() {
        for name in ["no-such-commit", "--all"] {
            let error = Earlier::build(name).err().expect("there is none").to_string();
            assert_eq!(error, format!("there is no commit {name}"));
        }
    }
}
