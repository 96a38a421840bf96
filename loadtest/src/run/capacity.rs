//! Finds the highest rate at which the gates still hold.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ending;
use crate::{
    checks::gates::{Gates, Judged, Limit, judge_step},
    generator::Watch,
    logging,
    measured::series::Summary,
    traffic::Traffic,
    workload::{kind::Selection, plan::Step, search::Search},
};

/// How long a search goes on.
pub(super) const LONGEST: Duration = Duration::from_mins(30);

/// After a rate that was too much, the requests in flight have so long to finish before the next one begins.
const RECOVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Serialize)]
pub(crate) struct CapacitySettings {
    /// Of a step.
    #[serde(rename = "step_seconds", serialize_with = "crate::settings::as_seconds")]
    pub(crate) step: Duration,
    /// The first rate that is tried, in requests a second.
    pub(crate) first: u32,
    /// How far the answer may be off, as a share of it.
    pub(crate) precision: f64,
}

/// What a search found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Capacity {
    /// The highest rate at which the gates held, in requests a second. None if they held at no rate.
    pub(crate) rate: Option<u32>,
    /// The lowest rate at which they did not. None if they held at every rate.
    pub(crate) failed: Option<u32>,
    /// Whether the generator was the bottleneck at the lowest rate that did not hold: the server may keep up with more.
    pub(crate) is_of_the_generator: bool,
    /// Every rate that was tried, in that order.
    pub(crate) tried: Vec<Tried>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tried {
    pub(crate) rate: u32,
    /// The first gate that did not hold. None if all held.
    pub(crate) missed: Option<String>,
    /// Why it says more of the generator than of the server.
    pub(crate) generator_was_the_bottleneck: Option<String>,
    pub(crate) error_rate: f64,
    #[serde(flatten)]
    pub(crate) summary: Summary,
}

impl Capacity {
    /// The lowest rate that a try missed and the highest that one held, if the tries contradict one another between
    /// these: the answer may be anywhere there.
    pub(crate) fn doubtful(&self) -> Option<(u32, u32)> {
        let rates =
            |held| self.tried.iter().filter(move |tried| tried.missed.is_none() == held).map(|tried| tried.rate);
        let (missed, held) = (rates(false).min()?, rates(true).max()?);
        (missed <= held).then_some((missed, held))
    }

    /// `least` is in requests a second.
    pub(crate) fn judge(&self, least: u32) -> Judged {
        let met = self.rate.is_some_and(|rate| rate >= least);
        Judged::new(
            "capacity, in requests a second,".to_owned(),
            Limit::Lower,
            least.into(),
            self.rate.map(f64::from),
            met,
        )
    }
}

/// Searches while the users of the run ask the schedule for requests, and ends the run.
pub(super) async fn find(traffic: Arc<Traffic>, settings: CapacitySettings, gates: Gates) -> Capacity {
    let mut search = Search::new(settings.first, settings.precision);
    let mut tried: Vec<Tried> = Vec::new();
    // Or the first rate would seem to be too much.
    ending::until_begun(&traffic).await;
    while !traffic.schedule.has_ended()
        && let Some(rate) = search.next()
    {
        let one = attempt(&traffic, Step::of_rate(settings.step, rate), &gates).await;
        if traffic.schedule.has_ended() {
            logging::message(&format!("{rate} requests a second: cut short, which decides nothing"));
            break;
        }
        let outcome =
            one.missed.as_ref().map_or_else(|| "holds".to_owned(), |missed| format!("does not hold: {missed}"));
        logging::message(&format!("{rate} requests a second: {outcome}"));
        search.tell(rate, one.missed.is_none());
        tried.push(one);
    }
    ending::end(&traffic).await;
    let failed = search.failed();
    let is_of_the_generator = tried
        .iter()
        .any(|one| Some(one.rate) == failed && one.missed.is_some() && one.generator_was_the_bottleneck.is_some());
    Capacity { rate: search.best(), failed, is_of_the_generator, tried }
}

async fn attempt(traffic: &Traffic, step: Step, gates: &Gates) -> Tried {
    let (rate, lasts) = (step.rate().unwrap_or_default(), step.lasts);
    let watch = Watch::begin();
    let place = traffic.schedule.add(step);
    traffic.schedule.sleep_until(Instant::now() + traffic.schedule.ends_in(place)).await;
    let all_finished = ending::all_finished(traffic, RECOVERY).await;
    let generator = watch.end().await;
    let planned = traffic.schedule.planned().swap_remove(place).done;
    let measured = traffic.recorder.lock();
    let series = measured.of(Some(place), Selection::default());
    let missed = if !planned.is_offered() {
        Some(format!("{} of {} requests were made", planned.begun, planned.due.unwrap_or_default()))
    } else if !all_finished {
        Some(format!("requests were not answered within {} s", RECOVERY.as_secs()))
    } else {
        judge_step(gates, &measured, place, lasts)
            .into_iter()
            .find(|judged| !judged.met)
            .map(|judged| format!("{}, {}", judged.name(), judged.finding()))
    };
    let summary = series.summary(lasts);
    Tried {
        rate,
        missed,
        generator_was_the_bottleneck: generator.is_bottleneck(&summary),
        error_rate: series.error_rate(),
        summary,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Capacity, Tried};
    use crate::measured::{latencies::Precision, series::Series};

    fn capacity(outcomes: &[(u32, bool)]) -> Capacity {
        let summary = Series::new(Precision::Fine).summary(Duration::from_secs(1));
        let tried = outcomes.iter().map(|&(rate, held)| Tried {
            rate,
            missed: (!held).then(|| "p99".to_owned()),
            generator_was_the_bottleneck: None,
            error_rate: 0.0,
            summary: summary.clone(),
        });
        Capacity { tried: tried.collect(), ..Capacity::default() }
    }

    #[test]
    fn tries_that_contradict_one_another_say_between_which_rates_the_answer_may_be() {
        assert_eq!(capacity(&[(200, true), (400, false), (300, true)]).doubtful(), None);
        assert_eq!(capacity(&[(400, false), (400, true), (400, true)]).doubtful(), Some((400, 400)));
        let outcomes = [(200, true), (400, true), (800, false), (300, false), (300, true), (500, true)];
        assert_eq!(capacity(&outcomes).doubtful(), Some((300, 500)));
    }
}
