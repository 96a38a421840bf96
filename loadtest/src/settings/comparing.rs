use std::path::PathBuf;

use client::ServerUrl;

/// What a run is compared with.
#[derive(Debug, clap::Args)]
pub(super) struct ComparingArgs {
    /// An earlier report.json, or a folder with those of the last runs. Figures are told beside the earlier ones; the
    /// run fails if its share of errors is higher, or if a figure is more than twice as bad. With a folder of five or
    /// more, the gates below decide, beyond the spread of these.
    #[arg(long, value_name = "PATH", group = "another_run", conflicts_with = "find_capacity")]
    pub(super) baseline: Option<PathBuf>,

    /// Another analyticsd, of an earlier version perhaps, that takes turns with --host in short rounds: both have the
    /// same conditions, so that small differences are seen on a shared machine too. Without gates below, the run fails
    /// if --host is slower by more than 5 %.
    #[arg(long, value_name = "URL", group = "another_run", conflicts_with_all = ["find_capacity", "stages", "user_stages", "replay"])]
    pub(super) compare_host: Option<ServerUrl>,

    /// How many rounds each of the two has, in the --run-time [default: 2min].
    #[arg(long, default_value_t = 120, value_name = "N", value_parser = clap::value_parser!(u32).range(5..=500), requires = "compare_host")]
    pub(super) rounds: u32,
}
