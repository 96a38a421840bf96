use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::{
    cli::Cli,
    failure::{Failure, Verdict},
    output,
};

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell, as in `source <(analytics-cli completions bash)`.
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> Result<Verdict, Failure> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Verdict::Yes)
}
