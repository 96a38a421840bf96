//! The reports of a run, as documents show them: a table in Markdown, and what the scenarios noted.

use std::{
    fmt::{Arguments, Write as _},
    time::Duration,
};

use crate::report::Report;

const HEAD: &str = "\
| fault | tried | acknowledged | refused | unknown | reads | faults | lost | extra | slowest |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

/// In events, but for reads, faults and the slowest answer.
pub fn markdown(reports: &[Report]) -> String {
    let mut text = HEAD.to_owned();
    for report in reports.iter().chain([&Report::sum(reports)]) {
        let Report { scenario, tried, acknowledged, refused, unknown, reads, faults, lost, phantoms, .. } = report;
        if let Some(why) = &report.skipped {
            push(&mut text, format_args!("| {scenario} | skipped: {why} | | | | | | | | |"));
            continue;
        }
        let numbers = [tried, acknowledged, refused, unknown, reads, faults, lost, phantoms].map(|&n| grouped(n));
        let slowest = Duration::from_millis(report.slowest_millis).as_secs_f64();
        push(&mut text, format_args!("| {scenario} | {} | {slowest:.1} s |", numbers.join(" | ")));
    }

    text.push('\n');
    for report in reports.iter().filter(|report| !report.notes.is_empty()) {
        push(&mut text, format_args!("- {}: {}.", report.scenario, report.notes.join("; ")));
    }
    text
}

fn push(text: &mut String, line: Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::{grouped, markdown};
    use crate::report::Report;

    #[test]
    fn thousands_are_grouped() {
        let shown = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn a_table_ends_with_the_sums_and_the_longest_wait() {
        let mut one = Report::new("one");
        (one.tried, one.acknowledged, one.faults, one.slowest_millis) = (1_500, 1_400, 3, 250);
        one.notes.push("noted".to_owned());
        let mut two = Report::new("two");
        (two.tried, two.acknowledged, two.lost, two.slowest_millis) = (10, 10, 1, 50);
        let table = markdown(&[one, two, Report::skipped("three", "not here")]);
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| one | 1,500 | 1,400 | 0 | 0 | 0 | 3 | 0 | 0 | 0.2 s |",
                "| two | 10 | 10 | 0 | 0 | 0 | 0 | 1 | 0 | 0.1 s |",
                "| three | skipped: not here | | | | | | | | |",
                "| all | 1,510 | 1,410 | 0 | 0 | 0 | 3 | 1 | 0 | 0.2 s |",
                "",
                "- one: noted.",
            ]
        );
    }
}
