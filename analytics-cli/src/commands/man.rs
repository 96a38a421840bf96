use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory};

use crate::{
    cli::Cli,
    failure::{Failure, Verdict},
};

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder to write them to, which is made if it is not there.
    dir: PathBuf,
}

/// Writes the pages: one for the program, and one for each of its commands.
pub(crate) fn run(args: &ManArgs) -> Result<Verdict, Failure> {
    let dir = &args.dir;
    let failed = |error| {
        Failure::CannotRun(format!("cannot write to {}: {error}; give a folder that can be written to", dir.display()))
    };
    fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    Ok(Verdict::Yes)
}
