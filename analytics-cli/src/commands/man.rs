use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, Command};

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder to write to. It is made if it does not exist.
    dir: PathBuf,
}

/// Writes a page for the program, and one for each of its commands.
pub(crate) fn run(args: &ManArgs, program: Command) -> Result<ExitCode, Failure> {
    let dir = &args.dir;
    let failed =
        |error| Failure::CannotRun(format!("cannot write to {}: {error}; give a writable folder", dir.display()));
    fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(program, dir).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
