//! What GitHub shows at the top of a run: a workflow command for each judgement that failed or is in doubt.

use super::findings::{Findings, Judgement, Mark, line};

/// Of one step GitHub shows no more.
const MOST: usize = 10;
/// The lines after the first of an annotation: people see a few.
const DETAILS: usize = 3;

/// Lines, none if all is well.
pub(super) fn annotations(findings: &Findings) -> Vec<String> {
    let judgements = findings.judgements_worst_first().into_iter();
    let mut lines: Vec<String> = judgements.take_while(|it| it.mark <= Mark::Doubtful).map(of_a_judgement).collect();
    if lines.len() > MOST {
        let more = lines.len() - (MOST - 1);
        lines.truncate(MOST - 1);
        lines.push(command("error", "loadtest", &format!("{more} more")));
    }
    lines
}

fn of_a_judgement(Judgement { name, mark, finding, details }: &Judgement) -> String {
    let level = if *mark == Mark::Doubtful { "warning" } else { "error" };
    let lines: Vec<String> = [finding].into_iter().chain(details.iter().take(DETAILS)).map(|text| line(text)).collect();
    command(level, &format!("loadtest: {}", line(name)), &lines.join("\n"))
}

fn command(level: &str, title: &str, message: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={}::{}", property(title), data(message))
}

#[cfg(test)]
mod tests {
    use super::annotations;
    use crate::report::findings::{Mark, tests::failed};

    #[test]
    fn each_judgement_that_failed_is_a_line_with_its_first_details() {
        let expected = [
            "::error title=loadtest%3A ledger::1 of 2 hours are wrong 5%25::x%0A2027-01-15T08:00:00Z counts 3 clicks 5%25::x%0A\
             2027-01-15T08:00:00Z counts 3 clicks 5%25::x%0A2027-01-15T08:00:00Z counts 3 clicks 5%25::x",
            "::error title=loadtest%3A p99 of POST at most 5 ms::it was 9.75 ms",
            "::warning title=loadtest%3A generator::1 of 2 hours are wrong 5%25::x%0ATHE GENERATOR WAS THE BOTTLENECK",
        ];
        assert_eq!(annotations(&failed("5%::x")), expected);
    }

    #[test]
    fn there_are_no_more_than_github_shows_and_the_last_one_counts_the_others() {
        let mut findings = failed("");
        findings.gates = (0..30).flat_map(|_| failed("").gates).collect();
        let lines = annotations(&findings);
        assert_eq!((lines.len(), lines[9].as_str()), (10, "::error title=loadtest::23 more"));
    }

    #[test]
    fn a_run_that_passed_says_nothing() {
        let mut findings = failed("");
        findings.promises.retain(|promise| promise.mark == Mark::Met);
        findings.gates.clear();
        assert!(annotations(&findings).is_empty());
    }
}
