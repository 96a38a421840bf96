//! Stages of a run, as k6 knows them: within a time, from the load before to another one.

use std::{str::FromStr, time::Duration};

use thiserror::Error;

use crate::workload::plan::{Load, Side, Step};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stage {
    lasts: Duration,
    pub(super) to: u32,
}

/// The most that a stage may ask for, as for --rate.
const MOST: u32 = 1_000_000;
const LONGEST: Duration = Duration::from_hours(24);

#[derive(Debug, Error)]
#[error("accepted is DURATION:NUMBER, such as 30s:500 or 2min:0, with a duration up to 24h and a number up to {MOST}")]
pub(super) struct InvalidStage;

impl FromStr for Stage {
    type Err = InvalidStage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (lasts, to) = text.trim().split_once(':').ok_or(InvalidStage)?;
        let lasts = humantime::parse_duration(lasts).map_err(|_| InvalidStage)?;
        let to = to.parse().map_err(|_| InvalidStage)?;
        if lasts <= LONGEST && to <= MOST { Ok(Self { lasts, to }) } else { Err(InvalidStage) }
    }
}

/// The first stage begins at nothing. A stage of no time is a leap.
pub(super) fn steps(stages: &[Stage], load: impl Fn(u32, u32) -> Load) -> Vec<Step> {
    let mut before = 0;
    let mut steps = Vec::new();
    for &Stage { lasts, to } in stages {
        if !lasts.is_zero() {
            steps.push(Step { lasts, load: load(before, to), side: Side::New });
        }
        before = to;
    }
    steps
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::{
        settings::Args,
        workload::plan::{Load, Step},
    };

    fn stages(flag: &str, stages: &str) -> Vec<Step> {
        Args::parse_from(["loadtest", flag, stages]).into_settings().stages
    }

    #[test]
    fn each_stage_begins_where_the_one_before_ended() {
        let steps = stages("--stages", "30s:500, 2m:2000,30s:0");
        let loads: Vec<Load> = steps.iter().map(|step| step.load.clone()).collect();
        let expected = [(0, 500), (500, 2_000), (2_000, 0)].map(|(from, to)| Load::Rate { from, to });
        assert_eq!(loads, expected);
        assert_eq!(steps.iter().map(|step| step.lasts.as_secs()).sum::<u64>(), 180);
    }

    #[test]
    fn a_stage_of_no_time_is_a_leap() {
        let steps = stages("--user-stages", "0s:20,10s:20");
        assert_eq!(steps.iter().map(|step| step.load.clone()).collect::<Vec<_>>(), [Load::Users { from: 20, to: 20 }]);
    }

    #[test]
    fn what_is_no_stage_is_refused_with_what_is_accepted() {
        for stage in ["30s", "500:30s", "30s:-1", "30s:1000001", "25h:1", "1s:1,,"] {
            let error = Args::try_parse_from(["loadtest", "--stages", stage]).unwrap_err().to_string();
            assert!(error.contains("DURATION:NUMBER"), "{stage}: {error}");
        }
    }
}
