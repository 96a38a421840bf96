use std::path::PathBuf;

use super::{
    gates::{GateArgs, RatioArgs, Unless},
    outputs::Outputs,
    pipeline::{Pipeline, PipelineArgs},
};
use crate::checks::gates::Gates;

/// What a run, or several together, is judged by, and where the result goes.
#[derive(Debug, clap::Args)]
pub(super) struct JudgingArgs {
    #[command(flatten, next_help_heading = "Gates")]
    gates: GateArgs,

    #[command(flatten, next_help_heading = "Another run to compare with")]
    baseline: BaselineArgs,

    #[command(flatten, next_help_heading = "Gates against another run")]
    ratios: RatioArgs,

    #[command(flatten, next_help_heading = "Reports")]
    outputs: Outputs,

    #[command(flatten, next_help_heading = "Reports")]
    pipeline: PipelineArgs,
}

#[derive(Debug, clap::Args)]
struct BaselineArgs {
    /// An earlier report.json, or a folder with those of the last runs.
    ///
    /// Figures are told beside the earlier ones; the run fails if its share of errors is higher, or if a figure is more
    /// than twice as bad. With a folder of five or more, the gates below decide, beyond the spread of these.
    #[arg(long, value_name = "PATH", group = "another_run")]
    baseline: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub(crate) struct Judging {
    pub(crate) gates: Gates,
    /// An earlier report, or a folder of them.
    pub(crate) baseline: Option<PathBuf>,
    pub(crate) outputs: Outputs,
    pub(crate) pipeline: Pipeline,
}

impl JudgingArgs {
    /// `unless` is what the run is for, if there are gates for that.
    pub(super) fn into_settings(self, unless: Option<Unless>) -> Judging {
        let Self { gates, baseline: BaselineArgs { baseline }, ratios, outputs, pipeline } = self;
        let gates = Gates::given(gates, ratios);
        let unless = unless.or(baseline.is_some().then_some(Unless::Baseline));
        let gates = unless.into_iter().fold(gates, Gates::unless_given);
        Judging { gates, baseline, outputs, pipeline: pipeline.into() }
    }
}
