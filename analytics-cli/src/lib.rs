//! The command line of the event counter, as a library so that its parts can be tested.
//!
//! - `cli` has the flags that all commands share;
//! - `commands` has one file a command: its flags, and what it does with them;
//! - `import` reads files of events and sends them in batches;
//! - `doctor` looks for what is wrong with a server and its database;
//! - `site` is which site a command is for;
//! - `database` connects for the commands that use the database, or the shards; those that use the server have the crate `client`;
//! - `range` is which periods a command is for;
//! - `time` reads the times that people write on a command line;
//! - `failure` decides the exit code;
//! - `settings` decides which server and database apply: flags, environment, profiles of a configuration file,
//!   defaults;
//! - `output` writes data to standard output and messages to standard error, and has the formats and colours of both.
//!
//! Each of these uses only those below it.

mod cli;
mod commands;
mod database;
mod doctor;
mod failure;
mod import;
mod output;
mod range;
mod settings;
mod site;
mod time;

use std::process::ExitCode;

use clap::CommandFactory;

pub use cli::Cli;

/// Runs one command to its end, reports a failure on standard error, and returns the exit code that `--help` documents.
pub async fn run(cli: Cli) -> ExitCode {
    output::palette::choose(cli.color);
    failure::exit_code(commands::run(cli.command, &cli.settings, Cli::command).await)
}
