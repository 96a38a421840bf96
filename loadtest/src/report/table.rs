use std::fmt;

use super::Report;
use crate::{checks::gates::Judged, recorder::Summary};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<14} {:>10} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "requests", "refused", "unanswered", "answered/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"
        )?;
        for kind in &self.kinds {
            row(f, &kind.kind.to_string(), &kind.summary)?;
        }
        row(f, "all", &self.all)?;
        writeln!(f)?;
        if self.retries_made > 0 {
            writeln!(f, "  {} retries were made", self.retries_made)?;
        }
        for complaint in &self.complaints {
            writeln!(f, "  {complaint}")?;
        }
        self.judgements(f)?;
        if self.all.answered() == 0 {
            writeln!(f, "{} no request was answered", mark(false))?;
        }
        let verdict = if self.passed { "passed" } else { "FAILED" };
        writeln!(f, "{verdict} after {:.1} s; seed {}", self.lasted_seconds, self.settings.seed)
    }
}

impl Report {
    fn judgements(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = &self.ledger;
        let wrong = ledger.hours.iter().filter(|hour| !hour.faults.is_empty()).count();
        writeln!(
            f,
            "{} ledger: {} events acknowledged, {} of unknown fate; {} of {} hours are wrong",
            mark(ledger.is_right()),
            ledger.acknowledged,
            ledger.open,
            wrong,
            ledger.hours.len()
        )?;
        for hour in ledger.hours.iter().filter(|hour| !hour.faults.is_empty()) {
            for fault in &hour.faults {
                writeln!(f, "       {} counts {fault}", hour.hour)?;
            }
        }
        if let Some(reason) = &ledger.unverified {
            writeln!(f, "       not all hours could be checked: {reason}")?;
        }
        let reads = &self.reads;
        writeln!(
            f,
            "{} reads: {} of {} late or wrong; {} writes were read back at once and seen after {:.1} ms (p50), {:.1} ms (p99)",
            mark(reads.wrong == 0),
            reads.wrong,
            reads.checked,
            reads.pairs,
            reads.seen_p50_ms,
            reads.seen_p99_ms
        )?;
        for example in &reads.examples {
            writeln!(f, "       {example}")?;
        }
        if let Some(offered) = self.offered {
            write!(f, "{} rate: {} of {} requests were made", mark(offered.met), offered.begun, offered.due)?;
            let advice = "; the server is too slow, or there are too few --users";
            writeln!(f, "{}", if offered.met { "" } else { advice })?;
        }
        for Judged { gate, bound, measured, met } in &self.gates {
            let measured = measured.map_or_else(
                || "too few requests were answered to measure it".to_owned(),
                |measured| format!("it is {measured:.4}"),
            );
            writeln!(f, "{} gate: {gate} is bounded by {bound}, {measured}", mark(*met))?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, summary: &Summary) -> fmt::Result {
    let Summary { requests, refused, unanswered, answered_per_second, p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } =
        summary;
    writeln!(
        f,
        "{name:<14} {requests:>10} {refused:>9} {unanswered:>10} {answered_per_second:>10.1} {p50_ms:>9.2} {p90_ms:>9.2} {p99_ms:>9.2} \
         {p999_ms:>9.2} {max_ms:>9.2}"
    )
}

fn mark(is_right: bool) -> &'static str {
    if is_right { "ok    " } else { "FAILED" }
}
