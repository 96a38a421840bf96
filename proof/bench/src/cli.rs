use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum, value_parser};
use db::Flavour;
use deadpool_postgres::PoolConfig;

use crate::plan::{Part, Plan, Sizes};

/// Measures analyticsd against the textbook way to count events, and both against an HTTP server that does nothing.
///
/// Prints Markdown tables. Keep the machine free of other work meanwhile.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 if everything was measured; 1 if something failed, so that there are no figures, or if a regression was found with --against; \
                  2 if the run could not begin."
)]
pub(crate) struct Args {
    /// The parts to measure [default: all, in this order; with --against those that measure both commits].
    #[arg(value_enum, value_name = "PART")]
    pub(crate) parts: Vec<Part>,

    /// A short run of some minutes: fewer sizes, and loads of 2 seconds.
    #[arg(long)]
    pub(crate) quick: bool,

    /// The number of rounds; the medians are printed.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// The length of each load [default: 4, or 2 with --quick].
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=600))]
    pub(crate) seconds: Option<u32>,

    /// The textbook's connections to the database [default: that of the pool library, two for each core].
    #[arg(long, default_value_t = PoolConfig::default().max_size, value_name = "N", hide_default_value = true)]
    pub(crate) textbook_connections: usize,

    /// An empty database to measure on: postgres://USER:PASSWORD@HOST:PORT/DATABASE [default: a private one, removed
    /// afterwards]. The parts shards and ranges, and --against, make others beside it, and drop them.
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,

    /// The folder of PostgreSQL's programs for the private database [default: searched].
    #[arg(long, value_name = "DIR", conflicts_with = "database_url")]
    pub(crate) postgres_bin: Option<PathBuf>,

    /// Write the figures of every round to FILE, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the tables to FILE instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,

    /// Store the run: the tables between the markers of PAGE, and beside it a file .json and a plot .svg of that name.
    #[arg(long, value_name = "PAGE")]
    pub(crate) store: Option<PathBuf>,

    /// Build the programs of this commit and measure them too, in turn with the present ones. Exit 1 if the present
    /// ones are slower beyond noise, or break a promise that the earlier ones keep.
    #[arg(long, value_name = "COMMIT")]
    pub(crate) against: Option<String>,

    #[command(subcommand)]
    pub(crate) server: Option<ServerCommand>,
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

impl From<&Args> for Plan {
    fn from(args: &Args) -> Self {
        let is_possible = |part: &Part| {
            (args.against.is_none() || part.compares_commits())
                && (args.database_url.is_none() || !part.needs_private_server())
        };
        let all = Part::value_variants().iter().copied().filter(is_possible);
        let mut parts = if args.parts.is_empty() { all.collect() } else { args.parts.clone() };
        parts.sort_unstable();
        parts.dedup();
        Self {
            parts,
            rounds: args.rounds,
            seconds: args.seconds.unwrap_or(if args.quick { 2 } else { 4 }),
            textbook_connections: args.textbook_connections,
            sizes: if args.quick { Sizes::quick() } else { Sizes::full() },
            against: args.against.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Args;
    use crate::plan::Part;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn parts_can_be_chosen_and_nothing_at_all_is_a_command_line() {
        assert_eq!(Args::parse_from(["bench"]).parts, []);
        assert_eq!(Args::parse_from(["bench", "--quick", "rows", "reads"]).parts, [Part::Rows, Part::Reads]);
        assert!(Args::parse_from(["bench", "serve-ceiling"]).server.is_some());
    }
}
