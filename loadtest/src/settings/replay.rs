use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use event_files::{FormatChoice, Host, PageViewRules, Reading};

use super::values::speed_up;
use crate::workload::replay::ReplaySettings;

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// Send the events of this file instead of a mix, each when it is due.
    ///
    /// Their times are shifted so that the last one is now.
    #[arg(long, value_name = "FILE")]
    pub(super) replay: Option<PathBuf>,

    /// The format of the file, as for `analytics-cli import`.
    #[arg(long, value_name = "FORMAT", default_value = "auto", requires = "replay",
          value_parser = PossibleValuesParser::new(FormatChoice::NAMES).try_map(|name| name.parse::<FormatChoice>()))]
    replay_format: FormatChoice,

    /// For logs: a host, without a leading www., whose pages lead to clicks.
    ///
    /// May be given several times.
    #[arg(long = "own-host", value_name = "HOST", requires = "replay")]
    own_hosts: Vec<Host>,

    /// Send the names of the file's users.
    ///
    /// Without it they get names that only this run uses, so that the number of users is proven exactly; with it, it
    /// may be anything between what was counted before and what was sent.
    #[arg(long, requires = "replay")]
    keep_names: bool,

    /// How many seconds of the file are replayed in a second.
    #[arg(long, default_value_t = 3_600.0, value_name = "FACTOR", value_parser = speed_up, requires = "replay")]
    speed_up: f64,
}

impl ReplayArgs {
    /// None without a file.
    pub(super) fn into_settings(self) -> Option<ReplaySettings> {
        let Self { replay, replay_format, own_hosts, keep_names, speed_up } = self;
        let rules = PageViewRules { own_hosts, ..PageViewRules::default() };
        let reading = Reading { format: replay_format, rules, ..Reading::default() };
        replay.map(|file| ReplaySettings { file, reading, keep_names, speed_up })
    }
}
