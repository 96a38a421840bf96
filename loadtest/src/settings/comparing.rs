use client::ServerUrl;

/// Another server that takes turns with the one that is tested.
#[derive(Debug, clap::Args)]
pub(super) struct ComparingArgs {
    /// Another analyticsd, of an earlier version perhaps, that takes turns with --host in short rounds: both have the
    /// same conditions, so that small differences are seen on a shared machine too. Without gates below, the run fails
    /// if --host is slower by more than 5 %.
    #[arg(long, value_name = "URL", group = "another_run", conflicts_with_all = ["find_capacity", "stages", "user_stages", "replay"])]
    pub(super) compare_host: Option<ServerUrl>,

    /// How many rounds each of the two has, in the --run-time [default: 2min].
    #[arg(long, default_value_t = 120, value_name = "N", value_parser = clap::value_parser!(u32).range(5..=500), requires = "compare_host")]
    pub(super) rounds: u32,
}
