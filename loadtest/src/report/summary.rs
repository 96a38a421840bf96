//! Markdown for people who look at a pipeline: the verdict first, then what it is made of.

use std::{fmt::Write, fs, path::Path};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::findings::{Findings, Judgement, Mark, line};
use crate::measured::series::Summary;

/// What a path in a link may hold as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// `folder` is where the summary lies; none if nothing lies beside it.
pub(super) fn summary(findings: &Findings, folder: Option<&Path>) -> String {
    let mut text = String::new();
    write(&mut text, findings, folder).expect("a string takes all");
    text
}

fn write(text: &mut String, findings: &Findings, folder: Option<&Path>) -> std::fmt::Result {
    writeln!(text, "## loadtest {}\n\n{}\n", findings.verdict, escaped(&findings.run))?;
    writeln!(text, "| | | |\n| --- | --- | --- |")?;
    let judgements = findings.judgements_worst_first();
    for Judgement { name, mark, finding, .. } in &judgements {
        let mark = match mark {
            Mark::Met => "ok",
            Mark::Missed => "**FAILED**",
            Mark::Doubtful => "**DOUBT**",
            Mark::None => "",
        };
        writeln!(text, "| {mark} | {} | {} |", escaped(name), escaped(finding))?;
    }
    for judgement in judgements.iter().filter(|judgement| !judgement.details.is_empty()) {
        writeln!(text, "\n{}:\n\n{}", escaped(&judgement.name), block(&judgement.first_details()))?;
    }
    if !findings.requests.is_empty() {
        writeln!(
            text,
            "\n| requests | made | refused | unanswered | answered/s | p50 ms | p90 ms | p99 ms | p99.9 ms | max ms |"
        )?;
        writeln!(text, "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |")?;
    }
    for (name, summary) in &findings.requests {
        row(text, name, summary)?;
    }
    if !findings.complaints.is_empty() {
        let complaints: Vec<String> = findings.complaints.iter().map(|complaint| line(complaint)).collect();
        writeln!(text, "\nThe first unexpected answers:\n\n{}", block(&complaints))?;
    }
    if let Some((dir, names)) = &findings.files {
        let files: Vec<String> = names.iter().map(|name| file(&dir.join(name), name, folder)).collect();
        writeln!(text, "\nFiles: {}.", files.join(", "))?;
    }
    Ok(())
}

fn row(text: &mut String, name: &str, summary: &Summary) -> std::fmt::Result {
    let Summary { requests, refused, unanswered, answered_per_second, p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } =
        summary;
    writeln!(
        text,
        "| {} | {requests} | {refused} | {unanswered} | {answered_per_second:.1} | {p50_ms:.2} | {p90_ms:.2} | \
         {p99_ms:.2} | {p999_ms:.2} | {max_ms:.2} |",
        escaped(name)
    )
}

/// A link if the file lies in the summary's folder or below it, else its path.
fn file(path: &Path, name: &str, folder: Option<&Path>) -> String {
    let below = || {
        let (path, folder) = (fs::canonicalize(path.parent()?).ok()?.join(name), fs::canonicalize(folder?).ok()?);
        Some(utf8_percent_encode(path.strip_prefix(folder).ok()?.to_str()?, PATH).to_string())
    };
    below().map_or_else(|| escaped(&path.display().to_string()), |target| format!("[{}]({target})", escaped(name)))
}

/// Text as it is, in a line of Markdown or in a cell of a table.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in line(text).chars() {
        if matches!(character, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '#' | '$' | '!') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Lines as they are. The fence is longer than any in them.
fn block(lines: &[String]) -> String {
    let longest = lines.iter().flat_map(|line| line.split(|c| c != '`')).map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}text\n{}\n{fence}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::summary;
    use crate::report::findings::{Findings, tests::failed};

    #[test]
    fn the_verdict_comes_first_and_then_what_it_is_made_of() {
        insta::assert_snapshot!(summary(&failed("(so)"), None));
    }

    #[test]
    fn a_run_that_did_not_begin_says_why() {
        let text = summary(&Findings::no_run("nobody answers".to_owned()), None);
        assert!(text.starts_with("## loadtest did not run\n") && text.contains("| nobody answers |"), "{text}");
    }

    #[test]
    fn text_is_no_markup() {
        let text = summary(&failed("| <b> [a](b) ```` \n# c"), None);
        assert!(text.contains(r"wrong \| \<b\> \[a\](b) \`\`\`\` \\n\# c |"), "{text}");
        assert!(text.contains("\n`````text\n2027") && text.contains("clicks | <b> [a](b) ```` \\n# c\n"), "{text}");
    }

    #[test]
    fn it_stays_far_below_the_mebibyte_that_github_shows() {
        let text = summary(&failed(&"\u{10ffff}|".repeat(100_000)), None);
        assert!(text.len() < 128 * 1024, "{} bytes", text.len());
    }

    #[test]
    fn files_in_the_folder_of_the_summary_are_links() {
        let dir = tempfile::tempdir().unwrap();
        let mut findings = failed("");
        let reports = dir.path().join("a report");
        std::fs::create_dir(&reports).unwrap();
        findings.files = Some((reports.clone(), vec!["latency.svg"]));
        let files = |folder| summary(&findings, folder).lines().last().unwrap().to_owned();
        assert_eq!(files(Some(reports.as_path())), "Files: [latency.svg](latency.svg).");
        assert_eq!(files(Some(dir.path())), "Files: [latency.svg](a%20report/latency.svg).");
        assert!(!files(None).contains("]("));
    }
}
