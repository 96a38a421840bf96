use serde::Serialize;

use super::finding::{Finding, Health};
use crate::{
    failure::{Failure, Verdict},
    output::{
        self,
        palette::{self, Palette},
        report_format::ReportFormat,
    },
};

/// The longest name of a check, in characters.
const LONGEST_NAME: usize = 16;

/// What was found so far. For people each finding is written when it is there, since the next may take its time.
pub(crate) struct Report {
    format: ReportFormat,
    palette: Palette,
    findings: Vec<Finding>,
}

/// The findings in JSON.
#[derive(Serialize)]
struct Written<'a> {
    problems: usize,
    warnings: usize,
    checks: &'a [Finding],
}

impl Report {
    /// Nothing was found yet.
    pub(crate) fn new(format: ReportFormat) -> Self {
        Self { format, palette: output::palette(), findings: Vec::new() }
    }

    /// Takes down a finding.
    pub(crate) fn add(&mut self, finding: Finding) -> Result<(), Failure> {
        if self.format == ReportFormat::Table {
            output::print_while_read(&line(&finding, self.palette))?;
        }
        self.findings.push(finding);
        Ok(())
    }

    /// Writes what is still to be written, and says what it comes to.
    pub(crate) fn finish(self) -> Result<Verdict, Failure> {
        let count = |health| self.findings.iter().filter(|finding| finding.health == health).count();
        let (problems, warnings) = (count(Health::Problem), count(Health::Warning));
        if self.format == ReportFormat::Json {
            let written = Written { problems, warnings, checks: &self.findings };
            let json = serde_json::to_string_pretty(&written).expect("texts and numbers can be written as JSON");
            output::print_while_read(&format!("{json}\n"))?;
        }
        output::talk(&format!("{} checks: problems {problems}, warnings {warnings}", self.findings.len()));
        Ok(if problems == 0 { Verdict::Yes } else { Verdict::No })
    }
}

fn line(Finding { check, health, seen, advice }: &Finding, palette: Palette) -> String {
    let style = match health {
        Health::Skipped => palette::SKIPPED,
        Health::Ok => palette::GOOD,
        Health::Warning => palette::WARNING,
        Health::Problem => palette::ERROR,
    };
    let blanks = " ".repeat("problem".len() - health.as_str().len());
    let advice = advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
    // What a server or a database says may have several lines.
    let text = format!("{seen}{advice}").lines().collect::<Vec<_>>().join(" ");
    format!("{}{blanks}  {check:<LONGEST_NAME$}  {text}\n", palette.paint(style, health))
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::{doctor::finding::Finding, output::palette::Palette};

    #[test]
    fn a_finding_is_a_line_with_what_to_do_next() {
        let findings = [
            Finding::ok("server", "it answers"),
            Finding::warning("server version", "0.2.0", "install it"),
            Finding::problem("database", "it said:\nno", "ask it again"),
            Finding::skipped("encoding", "nobody knows", "ask somebody"),
        ];
        let lines: String = findings.iter().map(|finding| line(finding, Palette::PLAIN)).collect();
        insta::assert_snapshot!(lines, @"
        ok       server            it answers
        warning  server version    0.2.0; install it
        problem  database          it said: no; ask it again
        skipped  encoding          nobody knows; ask somebody
        ");
        assert!(line(&findings[2], Palette::COLORED).starts_with("\u{1b}[1m\u{1b}[31mproblem\u{1b}[0m  database"));
    }
}
