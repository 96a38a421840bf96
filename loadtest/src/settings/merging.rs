use std::path::PathBuf;

use super::{Judging, judging::JudgingArgs, target::TargetArgs};
use crate::hosts::Host;

/// Judges runs together that were made at the same time, such as from several machines.
#[derive(Debug, clap::Args)]
#[command(after_help = super::MORE, after_long_help = super::EXIT_CODES)]
pub(crate) struct MergeArgs {
    /// The report.json of each run, or a folder with the folders of all.
    ///
    /// Each must have been made with --part.
    #[arg(required = true, num_args = 1.., value_name = "REPORT")]
    reports: Vec<PathBuf>,

    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    judging: JudgingArgs,
}

#[derive(Debug, Clone)]
pub(crate) struct MergeSettings {
    /// Files, and folders of them.
    pub(crate) reports: Vec<PathBuf>,
    /// Whose counts are read once more; none if those that the runs read are taken.
    pub(crate) hosts: Vec<Host>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) judging: Judging,
}

impl MergeArgs {
    pub(super) fn into_settings(self) -> Result<MergeSettings, String> {
        let Self { reports, target, judging } = self;
        target.check()?;
        let (hosts, judging) = (target.given(), judging.into_settings(None));
        Ok(MergeSettings { reports, hosts, ca_file: target.ca_file, judging })
    }
}
