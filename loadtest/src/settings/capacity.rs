use std::time::Duration;

use super::values::{share, step_time};
use crate::run::CapacitySettings;

#[derive(Debug, clap::Args)]
pub(super) struct CapacityArgs {
    /// Find the highest rate at which the gates hold, in a search that doubles the rate and then bisects it.
    ///
    /// Without gates: a p99 latency of 100 ms, and errors of 0.1 %. A rate holds if two of three tries say so.
    #[arg(long, conflicts_with_all = ["rate", "stages", "user_stages", "replay", "abort_on_fail", "baseline"])]
    pub(super) find_capacity: bool,

    /// How long each rate is tried.
    ///
    /// A queue that grows reaches a bound on latency only after a while, so it must be the lowest of these bounds
    /// divided by the precision, or longer.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = step_time, requires = "find_capacity")]
    capacity_step: Duration,

    /// The first rate that is tried, in requests a second.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), requires = "find_capacity")]
    capacity_from: u32,

    /// How far the answer may be off, as a share of it: the search ends when a rate that holds and one that does not
    /// are this near.
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", value_parser = share, requires = "find_capacity")]
    capacity_precision: f64,

    /// The lowest rate that must hold, in requests a second; otherwise the run fails.
    #[arg(long, value_name = "N", requires = "find_capacity")]
    pub(super) min_capacity: Option<u32>,
}

impl CapacityArgs {
    /// None if no capacity is to be found.
    pub(super) fn into_settings(self) -> Option<CapacitySettings> {
        let Self { find_capacity, capacity_step, capacity_from, capacity_precision, .. } = self;
        find_capacity.then_some(CapacitySettings {
            step: capacity_step,
            first: capacity_from,
            precision: capacity_precision,
        })
    }
}
