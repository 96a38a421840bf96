//! Lets two servers take turns until it is clear whether one is slower.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::ending;
use crate::{
    checks::{
        comparison::{Comparison, Spread, pairs_of_rounds},
        gates::Gates,
    },
    settings::Comparing,
    traffic::Traffic,
    workload::{
        plan::{Side, Step},
        schedule::Done,
    },
};

/// How long a run goes on in which it does not become clear.
pub(super) const LONGEST: Duration = Duration::from_mins(10);

/// After so many pairs it is looked again whether it is clear.
const LOOK_AFTER: u32 = 10;

/// Adds pairs of rounds to the schedule while the users of the run ask it for requests, and ends the run. `round` is the
/// load of each.
pub(super) async fn take_turns(traffic: Arc<Traffic>, settings: Comparing, round: Step, gates: Gates) {
    ending::until_begun(&traffic).await;
    let mut last = add_pair(&traffic, &round, 0);
    for pair in 1.. {
        // The next pair is there before this one ends, so that no user has to wait for it.
        let next = add_pair(&traffic, &round, pair);
        traffic.schedule.sleep_until(Instant::now() + traffic.schedule.ends_in(last)).await;
        last = next;
        let is_time = pair >= settings.least_rounds && (pair - settings.least_rounds).is_multiple_of(LOOK_AFTER);
        if traffic.schedule.has_ended() || (is_time && is_clear(&traffic, &gates, settings.precision)) {
            break;
        }
    }
    traffic.schedule.sleep_until(Instant::now() + traffic.schedule.ends_in(last)).await;
    ending::end(&traffic).await;
}

/// Each pair begins with the other server, so that neither is always first. Returns the place of its last round.
fn add_pair(traffic: &Traffic, round: &Step, pair: u32) -> usize {
    let (first, second) = if pair.is_multiple_of(2) { (Side::Old, Side::New) } else { (Side::New, Side::Old) };
    traffic.schedule.add(Step { side: first, ..round.clone() });
    traffic.schedule.add(Step { side: second, ..round.clone() })
}

fn is_clear(traffic: &Traffic, gates: &Gates, precision: f64) -> bool {
    let plan: Vec<Done> = traffic.schedule.done();
    // No request waits for the recorder while ratios are made.
    let measured = traffic.recorder.lock().clone();
    let pairs = pairs_of_rounds(&measured, &plan);
    Comparison::new(String::new(), pairs, Spread::Confidence).is_clear(gates, precision)
}
