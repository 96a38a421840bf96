use std::time::Duration;

use serde::Serialize;

use crate::{
    recorder::{Recorder, Summary},
    settings::{Gate, Gates},
};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Judged {
    /// The metric, and the requests that it is for.
    pub(crate) gate: String,
    pub(crate) bound: f64,
    /// None if too few requests were answered; then the gate is missed.
    pub(crate) measured: Option<f64>,
    pub(crate) met: bool,
}

pub(crate) fn judge(gates: &Gates, recorder: &Recorder, lasted: Duration) -> Vec<Judged> {
    let judge = |what: &'static str, measure: fn(&Summary) -> Option<f64>, is_met: fn(f64, f64) -> bool| {
        move |gate: &Gate| {
            let summary = recorder.of(gate.selection, lasted);
            let measured = if summary.requests > 0 { measure(&summary) } else { None };
            let met = measured.is_some_and(|measured| is_met(measured, gate.bound));
            Judged { gate: format!("{what} of {}", gate.selection), bound: gate.bound, measured, met }
        }
    };
    let p99 = judge("p99, ms,", |summary| summary.p99_kept_ms, |measured, bound| measured <= bound);
    let rps =
        judge("answers a second", |summary| Some(summary.answered_per_second), |measured, bound| measured >= bound);
    let errors = judge("error rate", |summary| Some(summary.error_rate()), |measured, bound| measured <= bound);
    let Gates { max_p99_ms, min_rps, max_error_rate } = gates;
    max_p99_ms.iter().map(p99).chain(min_rps.iter().map(rps)).chain(max_error_rate.iter().map(errors)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::judge;
    use crate::{
        recorder::{Outcome, Recorder},
        settings::Gates,
        workload::kind::Kind,
    };

    #[test]
    fn a_gate_is_met_or_missed_by_what_it_selects_and_missed_if_there_was_no_such_request() {
        let second = Duration::from_secs(1);
        let recorder = Recorder::new(second);
        for _ in 0..9 {
            recorder.add(Kind::ALL[0], Outcome::Answered, Duration::from_millis(20), Duration::ZERO);
        }
        recorder.add(Kind::ALL[2], Outcome::Refused, Duration::from_millis(1), Duration::ZERO);
        let gates = Gates {
            max_p99_ms: vec!["post=21".parse().unwrap(), "post=19".parse().unwrap(), "batch=1".parse().unwrap()],
            min_rps: vec!["9".parse().unwrap(), "get=1".parse().unwrap()],
            max_error_rate: vec!["0.1".parse().unwrap(), "get=0.99".parse().unwrap(), "post=0".parse().unwrap()],
        };
        let met: Vec<(String, bool)> =
            judge(&gates, &recorder, second).into_iter().map(|judged| (judged.gate, judged.met)).collect();
        let expected = [
            ("p99, ms, of POST", true),
            ("p99, ms, of POST", false),
            ("p99, ms, of BATCH", false),
            ("answers a second of all requests", true),
            ("answers a second of GET", false),
            ("error rate of all requests", true),
            ("error rate of GET", false),
            ("error rate of POST", true),
        ];
        assert_eq!(met, expected.map(|(gate, met)| (gate.to_owned(), met)));
    }

    #[test]
    fn requests_without_an_answer_count_as_slow() {
        let p99_is_met = |outcomes: &[(Outcome, u32)]| {
            let recorder = Recorder::new(Duration::from_secs(1));
            for &(outcome, times) in outcomes {
                for _ in 0..times {
                    recorder.add(Kind::ALL[0], outcome, Duration::from_millis(20), Duration::ZERO);
                }
            }
            let gates = Gates { max_p99_ms: vec!["21".parse().unwrap()], ..Gates::default() };
            judge(&gates, &recorder, Duration::from_secs(1))[0].met
        };
        assert!(p99_is_met(&[(Outcome::Answered, 99), (Outcome::Unanswered, 1)]));
        assert!(!p99_is_met(&[(Outcome::Answered, 98), (Outcome::Unanswered, 2)]));
        assert!(p99_is_met(&[(Outcome::Answered, 1), (Outcome::Refused, 99)]));
        assert!(!p99_is_met(&[(Outcome::Refused, 100)]));
        assert!(!p99_is_met(&[(Outcome::Unanswered, 100)]));
    }
}
