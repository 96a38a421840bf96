//! The command line of the event counter, as a library so that its parts can be tested.
//!
//! - `cli` holds the flags that all commands share and says which commands there are;
//! - `commands` has one file per command: its flags, and what it does with them;
//! - `import` reads files of events and sends them in batches, saying exactly what was stored;
//! - `doctor` looks for what is wrong with a server and its database;
//! - `output` keeps data (standard output) and messages (standard error) apart, and has the formats and colours of both;
//! - `settings` decides which server and database apply: flags, environment, profiles of a configuration file, defaults;
//! - `server` speaks HTTP to analyticsd, `database` connects where a command speaks to the database itself;
//! - `time` reads the times that people write on a command line;
//! - `failure` decides the exit code.

mod cli;
mod commands;
mod database;
mod doctor;
mod failure;
mod import;
mod output;
mod server;
mod server_events;
mod settings;
mod time;

use std::process::ExitCode;

pub use cli::Cli;
use output::palette;

/// Runs one command to its end, tells on standard error what went wrong, and returns the exit code that `--help` documents.
pub async fn run(cli: Cli) -> ExitCode {
    palette::choose(cli.color);
    failure::exit_code(commands::run(cli).await)
}
