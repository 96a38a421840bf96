use std::time::Duration;

use client::ServerUrl;

use super::values::{round_time, share};
use crate::hosts::Host;

/// Another server that takes turns with the one that is tested.
#[derive(Debug, clap::Args)]
pub(super) struct ComparingArgs {
    /// Another analyticsd, of an earlier version perhaps, that takes turns with --host in short rounds.
    ///
    /// Both have the same conditions, so that small differences are seen on a shared machine too. The run ends when it
    /// is clear what the gates below say, within --run-time [default: 10min]. Without such gates, it fails if --host is
    /// slower by more than 5 %.
    #[arg(long, value_name = "URL", group = "another_run", conflicts_with_all = ["find_capacity", "stages", "user_stages", "replay", "shared"])]
    pub(super) compare_host: Option<ServerUrl>,

    /// How many rounds each of the two has at least.
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u32).range(5..=500), requires = "compare_host")]
    rounds: u32,

    /// How long a round is.
    #[arg(long, default_value = "500ms", value_name = "DURATION", value_parser = round_time, requires = "compare_host")]
    round_time: Duration,

    /// How precisely ratios must be known, as a share of them, before it is clear that there is no difference.
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", value_parser = share, requires = "compare_host")]
    ratio_precision: f64,
}

#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Comparing {
    pub(crate) host: Host,
    pub(crate) least_rounds: u32,
    #[serde(rename = "round_seconds", serialize_with = "super::as_seconds")]
    pub(crate) round: Duration,
    pub(crate) precision: f64,
}

impl ComparingArgs {
    /// None if there is no other server. `host` adds what it takes to ask it.
    pub(super) fn into_settings(self, host: impl FnOnce(&ServerUrl) -> Host) -> Option<Comparing> {
        let Self { compare_host, rounds, round_time, ratio_precision } = self;
        let host = host(&compare_host?);
        Some(Comparing { host, least_rounds: rounds, round: round_time, precision: ratio_precision })
    }
}
