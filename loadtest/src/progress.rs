//! Shows the progress of a run on standard error: in place on a terminal, otherwise as a line now and then.

use std::{
    collections::VecDeque,
    env,
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{checks::ledger::Ledger, measured::series::Series, traffic::Traffic, workload::kind::Selection};

const ON_A_TERMINAL: Duration = Duration::from_millis(500);
const ELSEWHERE: Duration = Duration::from_secs(10);
/// Goose prints when its users are there, which takes a second. A line in place would have that at its end.
const FIRST: Duration = Duration::from_secs(2);
/// Rate and latency are of so long, or since the last line: those of a whole run hide what happens now.
const RECENT: Duration = Duration::from_secs(5);
const CLEAR_LINE: &str = "\r\x1b[K";

/// Runs until it is aborted.
pub(crate) async fn show(traffic: Arc<Traffic>, run_time: Duration) {
    let is_terminal = is_terminal();
    let (first, every) = if is_terminal { (FIRST, ON_A_TERMINAL) } else { (ELSEWHERE, ELSEWHERE) };
    let mut ticks = interval_at(Instant::now() + first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut recent = Recent::default();
    loop {
        ticks.tick().await;
        let now = Reading::take(&traffic, &mut recent);
        // The reader may be gone. That must not end the run.
        let _ = if is_terminal {
            write!(io::stderr(), "{CLEAR_LINE}{}", now.in_words(run_time, width()))
        } else {
            writeln!(io::stderr(), "{}", now.in_words(run_time, usize::MAX))
        };
    }
}

/// Makes room for another line.
pub(crate) fn clear() {
    if is_terminal() {
        let _ = write!(io::stderr(), "{CLEAR_LINE}");
    }
}

/// Whether a line can be written anew in its place.
fn is_terminal() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// Of what fits into a line of the terminal. A full line would begin the next one.
fn width() -> usize {
    let width = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0);
    usize::from(width).saturating_sub(1)
}

/// All requests as they were at some times of the last seconds.
#[derive(Debug, Default)]
struct Recent(VecDeque<(Duration, Series)>);

#[derive(Debug, Clone, PartialEq)]
struct Reading {
    elapsed: Duration,
    /// Of the last seconds.
    answered_per_second: f64,
    /// Of the last seconds. None without an answer.
    p99_ms: Option<f64>,
    /// Of the whole run.
    errors: u64,
    wrong_reads: u64,
    acknowledged: u64,
    open: u64,
}

impl Recent {
    /// What was added in the last seconds, and how long these are.
    fn add(&mut self, now: Duration, all: &Series) -> (Series, Duration) {
        while self.0.get(1).is_some_and(|(second, _)| *second + RECENT <= now) {
            self.0.pop_front();
        }
        let (since, added) = match self.0.front() {
            Some((then, before)) => (now.saturating_sub(*then), all.since(before)),
            None => (now, all.clone()),
        };
        self.0.push_back((now, all.clone()));
        (added, since)
    }
}

impl Reading {
    fn take(traffic: &Traffic, recent: &mut Recent) -> Self {
        let elapsed = traffic.schedule.elapsed();
        let (all, wrong_reads) = {
            let measured = traffic.recorder.lock();
            (measured.of(None, Selection::default()), measured.wrong_reads())
        };
        let (added, since) = recent.add(elapsed, &all);
        let totals = traffic.counters.ledgers().map(Ledger::totals);
        let (acknowledged, open) = totals.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        Self {
            elapsed,
            answered_per_second: added.answered_per_second(since),
            p99_ms: (added.latencies.len() > 0).then(|| added.latencies.quantile_ms(0.99)),
            errors: all.refused + all.unanswered,
            wrong_reads,
            acknowledged,
            open,
        }
    }

    /// As much of it as the width has room for.
    fn in_words(&self, run_time: Duration, width: usize) -> String {
        let p99 = self.p99_ms.map_or_else(|| "no answers".to_owned(), |p99| format!("p99 {p99:.1} ms"));
        let parts = [
            format!("{} of {} s", self.elapsed.as_secs(), run_time.as_secs()),
            format!("{:.0} answers/s", self.answered_per_second),
            p99,
            format!("{} errors", self.errors),
            format!("{} wrong reads", self.wrong_reads),
            format!("{} events acknowledged", self.acknowledged),
            format!("{} open", self.open),
        ];
        let mut line = String::new();
        for part in parts {
            let between = if line.is_empty() { "" } else { ", " };
            if line.len() + between.len() + part.len() > width {
                break;
            }
            line.extend([between, &part]);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Reading, Recent};
    use crate::measured::{
        latencies::Precision,
        series::{Outcome, Series},
    };

    #[test]
    fn a_line_has_what_the_terminal_has_room_for() {
        let reading = Reading {
            elapsed: Duration::from_millis(8_400),
            answered_per_second: 1_234.5,
            p99_ms: Some(40.61),
            errors: 3,
            wrong_reads: 0,
            acknowledged: 5_017,
            open: 12,
        };
        let whole =
            "8 of 20 s, 1234 answers/s, p99 40.6 ms, 3 errors, 0 wrong reads, 5017 events acknowledged, 12 open";
        let line = |width| reading.in_words(Duration::from_secs(20), width);
        assert_eq!(line(usize::MAX), whole);
        for width in 0..whole.len() {
            let line = line(width);
            assert!(line.len() <= width && whole.starts_with(&line), "{width}: {line}");
        }
        assert_eq!(line(30), "8 of 20 s, 1234 answers/s");
        let silent = Reading { p99_ms: None, ..reading };
        assert!(silent.in_words(Duration::from_secs(20), 60).contains("no answers"));
    }

    #[test]
    fn rate_and_latency_are_of_the_last_seconds() {
        let (mut recent, mut all) = (Recent::default(), Series::new(Precision::Fine));
        let mut told = Vec::new();
        for second in 1..=20 {
            // It was slow at first.
            let latency = Duration::from_millis(if second <= 10 { 900 } else { 5 });
            for _ in 0..second {
                all.record(Outcome::Answered, latency);
            }
            let (added, since) = recent.add(Duration::from_secs(second), &all);
            told.push((added.latencies.len(), since.as_secs(), added.latencies.quantile_ms(0.99) > 100.0));
        }
        assert_eq!(told[0], (1, 1, true));
        assert_eq!(told[9], (10 + 9 + 8 + 7 + 6, 5, true));
        assert_eq!(told[19], (20 + 19 + 18 + 17 + 16, 5, false), "what was slow is long ago");
        assert!(recent.0.len() <= 7, "{} are kept", recent.0.len());
    }
}
