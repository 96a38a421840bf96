//! The command line of the event counter, as a library so that its parts can be tested.
//!
//! - `cli` holds the flags that all commands share and says which commands there are;
//! - `commands` has one file per command: its flags, and what it does with them;
//! - `import` reads files of events and sends them in batches, saying exactly what was stored;
//! - `doctor` looks for what is wrong with a server and its database;
//! - `audit_report` writes the hours that differ from their raw events;
//! - `hour_format` writes hours as tables, CSV or JSON, `plot` draws them, `comparison` sets two spans beside each other;
//! - `settings` decides which server and database apply: flags, environment, profiles of the `config_file`, defaults;
//! - `server` speaks HTTP to analyticsd, `database` connects where a command speaks to the database itself;
//! - `token` reads what opens a server that is not open to all;
//! - `time` reads the times that people write on a command line;
//! - `failure` decides the exit code, `output` keeps data (standard output) and talk (standard error) apart, `palette` has their colours.

mod audit_report;
mod cli;
mod commands;
mod comparison;
mod config_file;
mod database;
mod doctor;
mod failure;
mod hour_format;
mod import;
mod metric;
mod output;
mod palette;
mod plot;
mod report_format;
mod server;
mod server_events;
mod settings;
mod table;
mod time;
mod with_sources;

use std::process::ExitCode;

pub use cli::Cli;

/// Runs one command to its end, tells on standard error what went wrong, and returns the exit code that `--help` documents.
pub async fn run(cli: Cli) -> ExitCode {
    palette::choose(cli.color);
    failure::exit_code(commands::run(cli).await)
}
