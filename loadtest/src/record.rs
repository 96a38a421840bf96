use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    checks::comparison::{Comparison, Pair, Sample},
    checks::verdict::Verdict,
    generator::Generator,
    measured::Measured,
    run::Capacity,
    settings::Settings,
    workload::{plan::Side, schedule::Done},
};

/// All that was seen in a run. A report is made of it.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    /// Of each generator.
    pub(crate) runs: Vec<RunSettings>,
    pub(crate) began_at: DateTime<Utc>,
    /// Why the run was ended before its time, if it was because it could not pass any more.
    pub(crate) ended_early: Option<String>,
    /// How long requests were made.
    pub(crate) lasted_seconds: f64,
    pub(crate) plan: Vec<Done>,
    pub(crate) measured: Measured,
    pub(crate) retries_made: u64,
    pub(crate) ledger: Verdict,
    pub(crate) generator: Generator,
    /// If it was looked for.
    pub(crate) capacity: Option<Capacity>,
}

/// What a run was asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunSettings {
    /// No other run has it.
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) seed: u64,
    /// For people.
    settings: serde_json::Value,
}

impl RunSettings {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            host: settings.told_hosts(),
            seed: settings.seed,
            settings: serde_json::to_value(settings).unwrap_or_default(),
        }
    }
}

impl Record {
    /// Where the server listens, as the first generator knows it.
    pub(crate) fn host(&self) -> &str {
        self.runs.first().map_or("", |run| &run.host)
    }

    /// What repeats the choices of the run.
    pub(crate) fn seeds(&self) -> String {
        let seeds: Vec<String> = self.runs.iter().map(|run| run.seed.to_string()).collect();
        format!("seed {}", seeds.join(", "))
    }

    pub(crate) fn lasted(&self) -> Duration {
        Duration::try_from_secs_f64(self.lasted_seconds).unwrap_or_default()
    }

    /// Of a run in which two hosts took turns, in pairs of rounds.
    pub(crate) fn compare_sides(&self, old: &str) -> Comparison {
        let sample = |place: usize| Sample::new(&self.measured, Some(place), self.plan[place].lasted());
        let rounds: Vec<(usize, &Done)> = self.plan.iter().enumerate().collect();
        let pairs = rounds.chunks_exact(2).filter_map(|pair| {
            let place = |side| pair.iter().find(|(_, round)| round.step.side == side).map(|(place, _)| *place);
            Some(Pair { old: sample(place(Side::Old)?), new: sample(place(Side::New)?) })
        });
        // In the first rounds, connections are made.
        Comparison::new(old.to_owned(), pairs.skip(1).collect())
    }

    /// How long a step lasted, or all of the run.
    pub(crate) fn lasted_of(&self, step: Option<usize>) -> Duration {
        let Some(step) = step else { return self.lasted() };
        self.plan.get(step).map(Done::lasted).unwrap_or_default()
    }
}
