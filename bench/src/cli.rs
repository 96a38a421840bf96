use std::path::PathBuf;

use clap::{Parser, Subcommand, value_parser};
use db::Flavour;
use deadpool_postgres::PoolConfig;
use serde::Serialize;

/// Measures analyticsd against the textbook way to count events, and both against an HTTP server that does nothing.
///
/// Prints a Markdown table. Keep the machine free of other work meanwhile.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 if everything was measured; 1 if something failed, so that there are no figures; 2 if nothing could begin."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) plan: Plan,

    #[command(subcommand)]
    pub(crate) server: Option<ServerCommand>,
}

/// What to measure, and how long.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Plan {
    /// How often everything is measured; the medians are printed.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// How long each load lasts.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,

    /// How many connections make requests at a time.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = value_parser!(u32).range(1..=4096))]
    pub(crate) connections: u32,

    /// How many connections the textbook has to the database [default: the pool library's own, two for each core].
    #[arg(long, default_value_t = PoolConfig::default().max_size, value_name = "N", hide_default_value = true)]
    pub(crate) textbook_connections: usize,

    /// An empty database to measure on: postgres://USER:PASSWORD@HOST:PORT/DATABASE [default: a private one, removed afterwards].
    #[arg(long, value_name = "URL")]
    #[serde(skip)]
    pub(crate) database_url: Option<String>,

    /// Write the figures of every round to FILE, as JSON.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
}

/// The servers that the bench starts as processes of their own, so that none shares a runtime with another.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    #[command(hide = true)]
    ServeCeiling,
    #[command(hide = true)]
    ServeTextbook {
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
        #[arg(long)]
        flavour: Flavour,
        #[arg(long)]
        connections: usize,
    },
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Args;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn nothing_at_all_is_a_command_line() {
        let plan = Args::parse_from(["bench"]).plan;
        assert_eq!((plan.rounds, plan.seconds, plan.connections), (3, 4, 64));
    }
}
