use std::fmt;

use super::Report;
use crate::{
    checks::comparison::{Compared, Comparison, Ratio},
    generator::Generator,
    measured::series::Summary,
    run::Capacity,
};

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
        self.ledger_lines(f)?;
        self.reads_lines(f)?;
        match &self.record.capacity {
            Some(capacity) => capacity_lines(f, capacity)?,
            None => self.rate_line(f)?,
        }
        if let Some(comparison) = &self.comparison {
            comparison_lines(f, comparison)?;
        }
        for judged in &self.gates {
            writeln!(f, "{} gate: {}", mark(judged.met), judged.in_words())?;
        }
        self.generator_lines(f)?;
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
    fn ledger_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
                writeln!(f, "       {} counts {fault}", hour.name())?;
            }
        }
        match &ledger.unverified {
            Some(reason) => writeln!(f, "       not all hours could be checked: {reason}"),
            None => Ok(()),
        }
    }

    fn reads_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        reads.examples.iter().try_for_each(|example| writeln!(f, "       {example}"))
    }

    /// Nothing if users decided when they made requests.
    fn rate_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = || self.steps.iter().filter_map(|step| Some((step.done.due?, step.done.begun)));
        let (due, begun) = open().fold((0, 0), |(due, begun), step| (due + step.0, begun + step.1));
        if open().next().is_none() {
            return Ok(());
        }
        let met = self.steps.iter().all(|step| step.offered);
        let advice = if met { "" } else { "; the server is too slow, or there are too few --users" };
        writeln!(f, "{} rate: {begun} of {due} requests were made{advice}", mark(met))
    }

    fn generator_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Generator { busy, processors, late_p99_ms, .. } = self.generator();
        writeln!(
            f,
            "       generator: it used {:.0} % of {processors} processors and was {late_p99_ms:.1} ms late itself (p99)",
            busy * 100.0
        )?;
        match &self.generator_was_the_bottleneck {
            Some(why) => writeln!(
                f,
                "       THE GENERATOR WAS THE BOTTLENECK: {why}. The server may be faster: generate the load on other \
                 machines, or less of it"
            ),
            None => Ok(()),
        }
    }
}

fn capacity_lines(f: &mut fmt::Formatter<'_>, capacity: &Capacity) -> fmt::Result {
    for tried in &capacity.tried {
        let Summary { answered_per_second, p50_ms, p99_ms, .. } = &tried.summary;
        let missed = tried.missed.as_ref().map_or_else(|| "holds".to_owned(), |missed| format!("missed: {missed}"));
        let error_percent = tried.error_rate * 100.0;
        writeln!(
            f,
            "       {:>8}/s: {answered_per_second:>9.1}/s answered, p50 {p50_ms:>8.2} ms, p99 {p99_ms:>8.2} ms, {error_percent:.2} % errors; {missed}",
            tried.rate
        )?;
    }
    let found = match (capacity.rate, capacity.failed) {
        (Some(rate), Some(failed)) => format!("the gates hold up to {rate} requests a second, and not at {failed}"),
        (Some(rate), None) => format!("the gates hold up to {rate} requests a second, the most that was tried"),
        (None, Some(failed)) => format!("the gates do not hold, not even at {failed} requests a second"),
        (None, None) => "nothing was found before the end of the run".to_owned(),
    };
    let bottleneck = if capacity.is_of_the_generator {
        "; the generator was the bottleneck there, so the server may keep up with more"
    } else {
        ""
    };
    writeln!(f, "{} capacity: {found}{bottleneck}", mark(capacity.rate.is_some()))
}

fn comparison_lines(f: &mut fmt::Formatter<'_>, comparison: &Comparison) -> fmt::Result {
    writeln!(f, "       beside {}:", comparison.with)?;
    writeln!(f, "       {:<32} {:>11} {:>11} {:>8}   99 % sure", "", "before", "now", "ratio")?;
    for Compared { figure, requests, old, new, ratio } in &comparison.figures {
        let Ratio { median, low, high, .. } = ratio;
        let name = format!("{figure} of {requests}");
        writeln!(f, "       {name:<32} {old:>11.2} {new:>11.2} {median:>8.3}   {low:.3} to {high:.3}")?;
    }
    Ok(())
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
