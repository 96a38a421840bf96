use std::fmt;

use super::{
    Report,
    findings::{Judgement, Mark, line},
};
use crate::measured::series::Summary;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<13} {:>9} {:>7} {:>9} {:>7} {:>7} {:>7} {:>8} {:>7}",
            "", "requests", "errors", "a second", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"
        )?;
        for kind in &self.kinds {
            row(f, &kind.kind.to_string(), &kind.summary)?;
        }
        row(f, "all", &self.all)?;
        writeln!(f)?;
        let Summary { refused, unanswered, .. } = self.all;
        if refused + unanswered > 0 {
            writeln!(f, "  {refused} requests were refused, and {unanswered} were not answered")?;
        }
        if self.record.retries_made > 0 {
            writeln!(f, "  {} retries were made", self.record.retries_made)?;
        }
        for complaint in &self.record.measured.complaints {
            writeln!(f, "  {}", line(complaint))?;
        }
        for judgement in self.promises() {
            judged(f, "", &judgement)?;
        }
        for judgement in self.judged_gates() {
            judged(f, "gate: ", &judgement)?;
        }
        let verdict = if self.passed { "passed" } else { "FAILED" };
        writeln!(f, "{verdict} after {:.1} s; {}", self.record.lasted_seconds, self.record.seeds())
    }
}

fn judged(f: &mut fmt::Formatter<'_>, before: &str, judgement: &Judgement) -> fmt::Result {
    let Judgement { name, mark, finding, details } = judgement;
    let mark = match mark {
        Mark::Met => "ok",
        Mark::Missed => "FAILED",
        Mark::Doubtful => "DOUBT",
        Mark::None => "",
    };
    writeln!(f, "{mark:<6} {before}{name}: {}", line(finding))?;
    details.iter().try_for_each(|detail| writeln!(f, "       {}", line(detail)))
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, summary: &Summary) -> fmt::Result {
    let Summary { requests, refused, unanswered, answered_per_second, p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } =
        summary;
    writeln!(
        f,
        "{name:<13} {requests:>9} {:>7} {answered_per_second:>9.1} {p50_ms:>7.2} {p90_ms:>7.2} {p99_ms:>7.2} {p999_ms:>8.2} \
         {max_ms:>7.2}",
        refused + unanswered
    )
}
