use std::fmt;

use super::Report;
use crate::{checks::gates::Judged, generator::Generator, measured::series::Summary};

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
        if self.record.retries_made > 0 {
            writeln!(f, "  {} retries were made", self.record.retries_made)?;
        }
        for complaint in &self.record.measured.complaints {
            writeln!(f, "  {complaint}")?;
        }
        self.judgements(f)?;
        if self.all.answered() == 0 {
            writeln!(f, "{} no request was answered", mark(false))?;
        }
        if let Some(why) = &self.record.ended_early {
            writeln!(f, "{} it ended early, since it could not pass any more: {why}", mark(false))?;
        }
        let verdict = if self.passed { "passed" } else { "FAILED" };
        writeln!(f, "{verdict} after {:.1} s; seed {}", self.record.lasted_seconds, self.settings.seed)
    }
}

impl Report {
    fn judgements(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = self.ledger();
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
        let due: u64 = self.steps.iter().filter_map(|step| step.done.due).sum();
        if due > 0 {
            let open = self.steps.iter().filter(|step| step.done.due.is_some());
            let begun: u64 = open.map(|step| step.done.begun).sum();
            let met = self.steps.iter().all(|step| step.offered);
            write!(f, "{} rate: {begun} of {due} requests were made", mark(met))?;
            let advice = "; the server is too slow, or there are too few --users";
            writeln!(f, "{}", if met { "" } else { advice })?;
        }
        for Judged { gate, bound, measured, met, note, .. } in &self.gates {
            let measured = measured.map_or_else(
                || "too few requests were answered to measure it".to_owned(),
                |measured| format!("it is {measured:.4}"),
            );
            let note = note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
            writeln!(f, "{} gate: {gate} is bounded by {bound}, {measured}{note}", mark(*met))?;
        }
        let Generator { busy, processors, late_p99_ms, .. } = self.generator();
        writeln!(
            f,
            "       generator: it used {:.0} % of {processors} processors and was {late_p99_ms:.1} ms late itself (p99)",
            busy * 100.0
        )?;
        if self.generator_was_the_bottleneck.is_some() {
            writeln!(
                f,
                "       THE GENERATOR WAS THE BOTTLENECK: the server may be faster. Use more machines, fewer users or a --rate"
            )?;
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
