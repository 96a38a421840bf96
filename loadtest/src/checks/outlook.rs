//! Whether a run that goes on can still pass.

use std::time::Duration;

use crate::{
    checks::gates::{Bound, Figure, Gate, Gates, judge_one},
    measured::Measured,
    workload::schedule::{Done, Planned},
};

/// Nobody knows how many requests users will make, who decide by themselves. They are taken to make at most so many
/// times as many in a second as until now.
const FASTER: f64 = 10.0;

/// How long after the end of a step its last requests are answered, nearly all.
const LATE_ANSWERS: Duration = Duration::from_secs(1);

/// Why the run cannot pass any more, whatever happens until its end.
pub(crate) fn why_hopeless(gates: &Gates, measured: &Measured, plan: &[Planned]) -> Option<String> {
    let wrong = measured.wrong_reads();
    if wrong > 0 {
        return Some(format!("{wrong} reads were late or wrong"));
    }
    if let Some(place) = plan.iter().position(|planned| planned.is_over(Duration::ZERO) && !planned.done.is_offered()) {
        return Some(format!("step {} did not make its requests in time", place + 1));
    }
    gates.all.iter().find(|gate| is_lost(gate, measured, plan)).map(|gate| format!("the gate on {gate} is missed"))
}

fn is_lost(gate: &Gate, measured: &Measured, plan: &[Planned]) -> bool {
    let Bound::Number(bound) = gate.bound else { return false };
    let own: Vec<&Planned> = match gate.part.step {
        Some(step) => plan.get(step).into_iter().collect(),
        None => plan.iter().collect(),
    };
    if gate.part.step.is_some() && own.iter().all(|planned| planned.is_over(LATE_ANSWERS)) && !own.is_empty() {
        return !judge_one(gate, bound, measured, |_| own.iter().map(|planned| planned.done.lasted()).sum()).met;
    }
    let series = measured.of(gate.part.step, gate.part.selection);
    let most = float(series.requests()) + own.iter().map(|planned| planned.most_to_come()).sum::<f64>();
    let too_slow = || float(series.latencies.longer_than(bound) + series.unanswered);
    match gate.figure {
        Figure::ErrorRate => float(series.refused + series.unanswered) > bound * most,
        Figure::Rate => false,
        Figure::SeenP99 => {
            let too_late = series.seen.as_ref().map_or(0, |seen| seen.longer_than(bound)) + series.unseen;
            // All that are to come may be read back.
            let all = float(series.pairs()) + own.iter().map(|planned| planned.most_to_come()).sum::<f64>();
            float(too_late) > 0.01 * all + 1.0
        }
        Figure::Max => too_slow() > 0.0,
        figure => figure.quantile().is_some_and(|quantile| too_slow() > (1.0 - quantile) * most + 1.0),
    }
}

impl Planned {
    fn is_over(&self, since: Duration) -> bool {
        self.left.is_zero() && self.over_for >= since
    }

    /// The most requests that it may still make.
    fn most_to_come(&self) -> f64 {
        let Done { step, begun, .. } = &self.done;
        // Each event may be read back at once.
        let in_flight = 2.0 * float(self.in_flight);
        if step.is_open() {
            return in_flight + 2.0 * float(step.due_before(step.lasts).saturating_sub(*begun));
        }
        let lasted = self.done.lasted().as_secs_f64();
        if self.left.is_zero() {
            in_flight
        } else if lasted < 1.0 {
            f64::INFINITY
        } else {
            in_flight + FASTER * float(*begun) / lasted * self.left.as_secs_f64()
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs few digits")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::why_hopeless;
    use crate::{
        measured::{Measured, latencies::Precision, series::Outcome},
        settings::Args,
        workload::{
            kind::Kind,
            plan::Step,
            schedule::{Done, Planned},
        },
    };

    /// A minute at 10 a second, of which so many seconds are over. The first of its requests took 50 ms, each.
    fn after(seconds: u32, slow: u32, refused: u32) -> (Measured, Vec<Planned>) {
        let minute = Duration::from_mins(1);
        let mut measured = Measured::new(Precision::Fine);
        let begun = seconds * 10;
        for number in 0..begun {
            let outcome = if number < refused { Outcome::Refused } else { Outcome::Answered };
            let latency = Duration::from_millis(if number < slow { 50 } else { 1 });
            measured.record(0, Kind::ALL[0], outcome, latency, Duration::ZERO);
        }
        let done = Done {
            step: Step::of_rate(minute, 10),
            lasted_seconds: seconds.into(),
            due: Some(begun.into()),
            begun: begun.into(),
        };
        let left = minute.saturating_sub(Duration::from_secs(seconds.into()));
        (measured, vec![Planned { done, left, over_for: Duration::ZERO, in_flight: 0 }])
    }

    fn is_hopeless(gate: &str, (measured, plan): &(Measured, Vec<Planned>)) -> bool {
        let gates = Args::parse_from(["loadtest", gate]).into_settings().judging.gates;
        why_hopeless(&gates, measured, plan).is_some()
    }

    #[test]
    fn a_run_is_hopeless_when_the_rest_could_not_mend_it_and_not_before() {
        // Until the end there are at most 100 requests and two for each of the other 500.
        assert!(!is_hopeless("--max-p99-ms=20", &after(10, 12, 0)));
        assert!(is_hopeless("--max-p99-ms=20", &after(10, 13, 0)));
        assert!(!is_hopeless("--max-error-rate=0.05", &after(10, 0, 55)));
        assert!(is_hopeless("--max-error-rate=0.05", &after(10, 0, 56)));
        assert!(is_hopeless("--max-ms=20", &after(1, 1, 0)));
        assert!(!is_hopeless("--max-ms=20", &after(1, 0, 0)));
    }

    #[test]
    fn events_that_are_seen_too_late_are_not_seen_sooner_by_what_comes() {
        let (mut measured, plan) = after(10, 0, 0);
        // Until the end there are at most two for each of 500 requests, and these.
        for late in 1..=12 {
            measured.record_seen(0, Kind::ALL[0], Some(Duration::from_millis(50)));
            assert_eq!(is_hopeless("--max-seen-p99-ms=20", &(measured.clone(), plan.clone())), late == 12, "{late}");
        }
    }

    #[test]
    fn a_wrong_read_is_enough() {
        let (mut measured, plan) = after(1, 0, 0);
        measured.record_read(Some("1 missing".to_owned()));
        assert!(is_hopeless("--min-rps=0", &(measured, plan)));
    }

    #[test]
    fn a_step_that_is_over_is_judged() {
        let (measured, mut plan) = after(60, 3, 0);
        assert!(!is_hopeless("--min-rps=@1=11", &(measured.clone(), plan.clone())));
        plan[0].over_for = Duration::from_secs(2);
        assert!(is_hopeless("--min-rps=@1=11", &(measured.clone(), plan.clone())));
        assert!(!is_hopeless("--min-rps=@1=9", &(measured, plan)));
    }

    #[test]
    fn of_users_nobody_knows_how_many_requests_come() {
        let (measured, mut plan) = after(10, 0, 3);
        plan[0].done = Done { step: Step::of_users(Duration::from_mins(1), 4), due: None, ..plan[0].done.clone() };
        // At most 100 + 10 * 10 * 50 requests.
        assert!(is_hopeless("--max-error-rate=0.0005", &(measured.clone(), plan.clone())));
        assert!(!is_hopeless("--max-error-rate=0.0006", &(measured, plan)));
    }
}
