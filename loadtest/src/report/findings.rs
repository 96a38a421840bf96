//! What a run showed, in words: the promises that every run checks, the gates of the command line, and the requests.
//! The printed report and what a pipeline reads all say these.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};

use super::Report;
use crate::{
    checks::{
        comparison::{Compared, Comparison, Ratio, Spread},
        gates::Judged,
        verdict::Verdict,
    },
    generator::Generator,
    logging::visible,
    measured::series::Summary,
    run::Capacity,
};

/// The most details of one judgement that a pipeline reads.
const MOST_DETAILS: usize = 20;
/// The most differences to the load of another run that are told, besides the last.
const MOST_UNLIKE: usize = 4;
/// The most characters of a line that a pipeline reads.
const LONGEST: usize = 500;

#[derive(Debug)]
pub(super) struct Findings {
    pub(super) verdict: &'static str,
    pub(super) began_at: DateTime<Utc>,
    pub(super) lasted: Duration,
    /// What was run.
    pub(super) run: String,
    pub(super) promises: Vec<Judgement>,
    pub(super) gates: Vec<Judgement>,
    /// Each kind, and all together.
    pub(super) requests: Vec<(String, Summary)>,
    /// The first unexpected answers that differ.
    pub(super) complaints: Vec<String>,
    /// A folder, and the names of the files that the run wrote there.
    pub(super) files: Option<(PathBuf, Vec<&'static str>)>,
}

#[derive(Debug)]
pub(super) struct Judgement {
    /// What was judged.
    pub(super) name: String,
    pub(super) mark: Mark,
    pub(super) finding: String,
    /// What is wrong, or what it consists of, in lines.
    pub(super) details: Vec<String>,
}

/// The worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    Missed,
    /// It fails nothing, but what was measured proves little.
    Doubtful,
    Met,
    /// Nothing was asked.
    None,
}

impl Judgement {
    fn new(name: impl Into<String>, met: bool, finding: String) -> Self {
        let mark = if met { Mark::Met } else { Mark::Missed };
        Self { name: name.into(), mark, finding, details: Vec::new() }
    }

    /// The first details, and how many more there are. One more takes no more room than its number.
    pub(super) fn first_details(&self) -> Vec<String> {
        let more = self.details.len().saturating_sub(MOST_DETAILS);
        let shown = if more == 1 { MOST_DETAILS + 1 } else { MOST_DETAILS };
        let mut first: Vec<String> = self.details.iter().take(shown).map(|detail| line(detail)).collect();
        if more > 1 {
            first.push(format!("and {more} more"));
        }
        first
    }
}

/// A text in one line that is not too long.
pub(super) fn line(text: &str) -> String {
    let first: String = text.chars().take(LONGEST).collect();
    let more = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    visible(&first) + more
}

impl Findings {
    /// There was no run, for this reason.
    pub(super) fn no_run(reason: String) -> Self {
        Self {
            verdict: "did not run",
            began_at: Utc::now(),
            lasted: Duration::ZERO,
            run: "No request was made.".to_owned(),
            promises: vec![Judgement::new("run", false, reason)],
            gates: Vec::new(),
            requests: Vec::new(),
            complaints: Vec::new(),
            files: None,
        }
    }

    pub(super) fn judgements_worst_first(&self) -> Vec<&Judgement> {
        let mut judgements: Vec<&Judgement> = self.promises.iter().chain(&self.gates).collect();
        judgements.sort_by_key(|judgement| judgement.mark);
        judgements
    }
}

impl Report {
    pub(super) fn findings(&self) -> Findings {
        let kinds = self.kinds.iter().map(|kind| (kind.kind.to_string(), kind.summary.clone()));
        Findings {
            verdict: if self.passed { "passed" } else { "FAILED" },
            began_at: self.record.began_at,
            lasted: self.record.lasted(),
            run: format!("{:.1} s on {}; {}.", self.record.lasted_seconds, self.record.host(), self.record.seeds()),
            promises: self.promises(),
            gates: self.judged_gates(),
            requests: kinds.chain([("all".to_owned(), self.all.clone())]).collect(),
            complaints: self.record.measured.complaints.clone(),
            files: self.dir().map(|dir| (dir.to_owned(), self.files())),
        }
    }

    pub(super) fn promises(&self) -> Vec<Judgement> {
        let always = [self.of_the_ledger(), self.of_the_reads(), self.of_the_answers()];
        let load = match &self.record.capacity {
            Some(capacity) => Some(of_a_capacity(capacity)),
            None => self.of_the_rate(),
        };
        let sometimes = [self.of_the_parts(), load, self.of_the_end(), self.comparison.as_ref().map(of_a_comparison)];
        always.into_iter().chain(sometimes.into_iter().flatten()).chain([self.of_the_generator()]).collect()
    }

    fn of_the_ledger(&self) -> Judgement {
        let ledger = &self.record.ledger;
        let wrong = ledger.hours.iter().filter(|hour| !hour.faults.is_empty()).count();
        let finding = format!(
            "{} events acknowledged, {} of unknown fate; {wrong} of {} hours are wrong",
            ledger.acknowledged,
            ledger.open,
            ledger.hours.len()
        );
        let of_hours = ledger
            .hours
            .iter()
            .flat_map(|hour| hour.faults.iter().map(|fault| format!("{} counts {fault}", hour.name())));
        let unverified = ledger.unverified.iter().map(|reason| format!("not all hours could be checked: {reason}"));
        let advice = match (ledger.only_too_many(), self.record.runs.len()) {
            (false, _) => None,
            (true, 1) => Some("if other clients sent events for these hours meanwhile, give --shared"),
            (true, _) => Some("the report of a part was not given, or other clients sent events for these hours"),
        };
        let advice = advice.map(str::to_owned);
        Judgement {
            details: of_hours.chain(unverified).chain(advice).collect(),
            ..Judgement::new("ledger", ledger.is_right(), finding)
        }
    }

    /// None of a single run.
    fn of_the_parts(&self) -> Option<Judgement> {
        let Verdict { compared, late, .. } = &self.record.ledger;
        let finding = match compared {
            0 => "no count was compared: the parts never read the same hour while none of them sent events of one \
                  kind, so a late event could not be found"
                .to_owned(),
            _ => format!("{} of {compared} counts were late that all parts read at once", late.len()),
        };
        let mut judgement = Judgement { details: late.clone(), ..Judgement::new("parts", late.is_empty(), finding) };
        if *compared == 0 {
            judgement.mark = Mark::Doubtful;
        }
        (self.record.runs.len() > 1).then_some(judgement)
    }

    fn of_the_reads(&self) -> Judgement {
        let reads = &self.reads;
        let seen = match reads.pairs {
            0 => "no write was read back at once".to_owned(),
            pairs => format!(
                "{pairs} writes were read back at once and seen after {:.1} ms (p50), {:.1} ms (p99)",
                reads.seen_p50_ms, reads.seen_p99_ms
            ),
        };
        let finding = format!("{} of {} late or wrong; {seen}", reads.wrong, reads.checked);
        Judgement { details: reads.examples.clone(), ..Judgement::new("reads", reads.wrong == 0, finding) }
    }

    /// Without an answer, nothing is proven.
    fn of_the_answers(&self) -> Judgement {
        let (answered, requests) = (self.all.answered(), self.all.requests);
        let finding = match answered {
            0 => "no request was answered".to_owned(),
            _ => format!("{answered} of {requests} requests were answered as promised"),
        };
        Judgement::new("answers", answered > 0, finding)
    }

    /// None if users decided when they made requests.
    fn of_the_rate(&self) -> Option<Judgement> {
        let steps = || self.steps.iter().filter_map(|step| Some((step.done.due?, step.done.begun)));
        let (due, begun) = steps().fold((0, 0), |sums, step| (sums.0 + step.0, sums.1 + step.1));
        let met = self.steps.iter().all(|step| step.offered);
        let advice = if met { "" } else { "; the server is too slow, or there are too few --users" };
        let finding = format!("{begun} of {due} requests were made{advice}");
        (due > 0).then(|| Judgement::new("rate", met, finding))
    }

    fn of_the_end(&self) -> Option<Judgement> {
        let why = self.record.ended_early.as_ref()?;
        // What was done before a signal is judged as any other run.
        let mark = if self.passed { Mark::Doubtful } else { Mark::Missed };
        let finding = format!("it ended early, after {:.1} s, since {why}", self.record.lasted_seconds);
        Some(Judgement { mark, ..Judgement::new("end", false, finding) })
    }

    fn of_the_generator(&self) -> Judgement {
        let Generator { busy, processors, late_p99_ms, .. } = &self.record.generator;
        let finding = format!(
            "it used {:.0} % of {processors} processors and was {late_p99_ms:.1} ms late itself (p99)",
            busy * 100.0
        );
        let judgement = Judgement { mark: Mark::None, ..Judgement::new("generator", true, finding) };
        let Some(why) = &self.generator_was_the_bottleneck else { return judgement };
        let detail = format!(
            "THE GENERATOR WAS THE BOTTLENECK: {why}. The server may be faster: generate the load on other machines, or \
             less of it"
        );
        Judgement { mark: Mark::Doubtful, details: vec![detail], ..judgement }
    }

    pub(super) fn judged_gates(&self) -> Vec<Judgement> {
        let judgement = |judged: &Judged| Judgement::new(judged.name(), judged.met, judged.finding());
        self.gates.iter().map(judgement).collect()
    }
}

fn of_a_capacity(capacity: &Capacity) -> Judgement {
    let found = match (capacity.rate, capacity.failed) {
        (Some(rate), Some(failed)) => format!("the gates hold up to {rate} requests a second, and not at {failed}"),
        (Some(rate), None) => format!("the gates hold up to {rate} requests a second, the most that was tried"),
        (None, Some(failed)) => format!("the gates do not hold, not even at {failed} requests a second"),
        (None, None) => "nothing was found before the end of the run".to_owned(),
    };
    let doubtful = capacity.doubtful().map(|(missed, held)| {
        let rates = if missed == held { format!("of {held}") } else { format!("between {missed} and {held}") };
        format!("; tries {rates} differed")
    });
    let bottleneck = if capacity.is_of_the_generator {
        "; the generator was the bottleneck there, so the server may keep up with more"
    } else {
        ""
    };
    let tried = capacity.tried.iter().map(|tried| {
        let Summary { answered_per_second, p50_ms, p99_ms, .. } = &tried.summary;
        let missed = tried.missed.as_ref().map_or_else(|| "holds".to_owned(), |missed| format!("missed: {missed}"));
        let (rate, error_percent) = (&tried.rate, tried.error_rate * 100.0);
        format!(
            "{rate:>8}/s: {answered_per_second:>9.1}/s answered, p50 {p50_ms:>8.2} ms, p99 {p99_ms:>8.2} ms, \
             {error_percent:.2} % errors; {missed}"
        )
    });
    let details = tried.collect();
    Judgement {
        details,
        ..Judgement::new("capacity", capacity.rate.is_some(), found + &doubtful.unwrap_or_default() + bottleneck)
    }
}

/// Its gates are judged by themselves.
fn of_a_comparison(Comparison { with, spread, unlike, figures, errors, .. }: &Comparison) -> Judgement {
    let between = match spread {
        Spread::Confidence => "99 % sure",
        Spread::Extremes => "lowest to highest",
    };
    let head = format!("{:<32} {:>11} {:>11} {:>8}   {between}", "", "before", "now", "ratio");
    let rows = figures.iter().map(|Compared { figure, requests, old, new, ratio }| {
        let Ratio { median, low, high, .. } = ratio;
        let unit = if figure.unit().is_empty() { "" } else { ", ms" };
        let name = format!("{figure} of {requests}{unit}");
        format!("{name:<32} {old:>11.2} {new:>11.2} {median:>8.3}   {low:.3} to {high:.3}")
    });
    let [old, new] = errors.map(|errors| errors * 100.0);
    let errors = format!("{:<32} {old:>11.2} {new:>11.2}", "errors of all requests, %");
    let details = [head].into_iter().chain(rows).chain([errors]).collect();
    let (mark, but) = match &unlike[..] {
        [] => (Mark::None, String::new()),
        [first @ .., last] => {
            let all = first.iter().take(MOST_UNLIKE).chain([last]).cloned().collect::<Vec<_>>().join(", ");
            (Mark::Doubtful, format!(", which had another load: {all}"))
        }
    };
    Judgement { mark, details, ..Judgement::new("comparison", true, format!("beside {with}{but}")) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{path::PathBuf, time::Duration};

    use chrono::DateTime;

    use super::{Findings, Judgement, LONGEST, Mark, line};
    use crate::measured::series::Summary;

    /// A run that failed, about which this text was said everywhere.
    pub(in crate::report) fn failed(text: &str) -> Findings {
        let summary = Summary {
            requests: 101,
            refused: 1,
            unanswered: 0,
            answered_per_second: 50.0,
            p50_ms: 1.25,
            p90_ms: 2.5,
            p95_ms: 5.0,
            p99_ms: 9.75,
            p999_ms: 10.0,
            max_ms: 10.0,
        };
        let fault = |name: &str, details: Vec<String>| Judgement {
            details,
            ..Judgement::new(name, false, format!("1 of 2 hours are wrong {text}"))
        };
        Findings {
            verdict: "FAILED",
            began_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            lasted: Duration::from_secs(2),
            run: "2.0 s on http://127.0.0.1:8080; seed 7.".to_owned(),
            promises: vec![
                fault("ledger", vec![format!("2027-01-15T08:00:00Z counts 3 clicks {text}"); 22]),
                Judgement::new("reads", true, "0 of 50 late or wrong".to_owned()),
                Judgement {
                    mark: Mark::Doubtful,
                    ..fault("generator", vec!["THE GENERATOR WAS THE BOTTLENECK".to_owned()])
                },
            ],
            gates: vec![Judgement::new("p99 of POST at most 5 ms", false, "it was 9.75 ms".to_owned())],
            requests: vec![("POST current".to_owned(), summary.clone()), ("all".to_owned(), summary)],
            complaints: vec![format!("POST current was answered 503 {text}")],
            files: Some((PathBuf::from("report"), vec!["report.json", "latency.svg"])),
        }
    }

    #[test]
    fn a_number_of_more_details_stands_for_two_or_more() {
        for (details, lines, last) in [(20, 20, "fault"), (21, 21, "fault"), (22, 21, "and 2 more")] {
            let judgement = Judgement {
                details: vec!["fault".to_owned(); details],
                ..Judgement::new("ledger", false, String::new())
            };
            let first = judgement.first_details();
            assert_eq!((first.len(), first.last().unwrap().as_str()), (lines, last));
        }
    }

    #[test]
    fn a_line_has_no_end_of_line_no_control_characters_and_a_length() {
        assert_eq!(
            line("a\r\nb\u{1b}[31m\u{7f}\u{9b}\u{2028}\u{ffff}é"),
            "a\\r\\nb\\u{1b}[31m\\u{7f}\\u{9b}\\u{2028}\\u{ffff}é"
        );
        assert_eq!(line(&"é".repeat(LONGEST)), "é".repeat(LONGEST));
        assert_eq!(line(&"é".repeat(LONGEST + 1)), "é".repeat(LONGEST) + "…");
    }
}
