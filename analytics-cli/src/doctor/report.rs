use std::process::ExitCode;

use serde::Serialize;

use super::finding::{Finding, Health};
use crate::output::{
    self, ReportFormat, Unwritten,
    palette::{self, Palette},
};

/// The longest name of a check, in characters.
const LONGEST_NAME: usize = 16;

/// The findings so far. In a table each is printed at once, since the next check may take long.
pub(crate) struct Report {
    format: ReportFormat,
    palette: Palette,
    findings: Vec<Finding>,
    /// The database that is looked at, where there are several.
    shard: Option<usize>,
}

#[derive(Serialize)]
struct Written<'a> {
    problems: usize,
    warnings: usize,
    checks: &'a [Finding],
}

impl Report {
    pub(crate) fn new(format: ReportFormat) -> Self {
        Self { format, palette: output::palette(), findings: Vec::new(), shard: None }
    }

    /// What is added from now on is about this database.
    pub(crate) fn begin(&mut self, shard: Option<usize>) {
        self.shard = shard;
    }

    pub(crate) fn add(&mut self, finding: Finding) -> Result<(), Unwritten> {
        let finding = Finding { shard: self.shard, ..finding };
        if self.format == ReportFormat::Table {
            output::print_while_read(&line(&finding, self.palette))?;
        }
        self.findings.push(finding);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<ExitCode, Unwritten> {
        let count = |health| self.findings.iter().filter(|finding| finding.health == health).count();
        let (problems, warnings) = (count(Health::Problem), count(Health::Warning));
        if self.format == ReportFormat::Json {
            let written = Written { problems, warnings, checks: &self.findings };
            output::print_while_read(&output::pretty_json(&written))?;
        }
        output::message(&format!("{} checks: problems {problems}, warnings {warnings}", self.findings.len()));
        Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn line(Finding { check, shard, health, seen, advice }: &Finding, palette: Palette) -> String {
    let style = match health {
        Health::Skipped => palette::SKIPPED,
        Health::Ok => palette::GOOD,
        Health::Warning => palette::WARNING,
        Health::Problem => palette::ERROR,
    };
    let blanks = " ".repeat("problem".len() - health.as_str().len());
    let advice = advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
    let shard = shard.map(|shard| format!("shard {shard}: ")).unwrap_or_default();
    // A text from a server or a database may have several lines.
    let text = format!("{shard}{seen}{advice}").lines().collect::<Vec<_>>().join(" ");
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
            Finding::problem("database", "two\nlines", "try again"),
            Finding::skipped("encoding", "it is unknown", "ask"),
            Finding { shard: Some(3), ..Finding::ok("writes", "they are") },
        ];
        let lines: String = findings.iter().map(|finding| line(finding, Palette::PLAIN)).collect();
        insta::assert_snapshot!(lines, @"
        ok       server            it answers
        warning  server version    0.2.0; install it
        problem  database          two lines; try again
        skipped  encoding          it is unknown; ask
        ok       writes            shard 3: they are
        ");
        assert!(line(&findings[2], Palette::COLORED).starts_with("\u{1b}[1m\u{1b}[31mproblem\u{1b}[0m  database"));
    }
}
