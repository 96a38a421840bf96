use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::{failure::Failure, output};

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell, as in `source <(analytics-cli completions bash)`.
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, mut program: Command) -> Result<ExitCode, Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, &mut program, name, &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
