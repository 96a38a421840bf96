//! Shows the progress of a run on standard error: in place on a terminal, otherwise as a line now and then.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use crate::{traffic::Traffic, workload::kind::Selection};

const ON_A_TERMINAL: Duration = Duration::from_millis(500);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Runs until it is aborted.
pub(crate) async fn show(traffic: Arc<Traffic>, run_time: Duration) {
    let is_terminal = is_terminal();
    let mut ticks = interval(if is_terminal { ON_A_TERMINAL } else { ELSEWHERE });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let line = line(&traffic, run_time);
        // The reader may be gone. That must not end the run.
        let _ = if is_terminal { write!(io::stderr(), "\r\x1b[K{line}") } else { writeln!(io::stderr(), "{line}") };
    }
}

/// Whether a line can be written anew in its place.
fn is_terminal() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

pub(crate) fn clear() {
    if is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

fn line(traffic: &Traffic, run_time: Duration) -> String {
    let lasted = traffic.schedule.elapsed();
    let (all, wrong) = {
        let measured = traffic.recorder.lock();
        (measured.of(None, Selection::default()).summary(lasted), measured.reads().wrong)
    };
    format!(
        "{} of {} s: {:.0} answered/s, p99 {:.1} ms, {} errors, {wrong} wrong reads",
        lasted.as_secs(),
        run_time.as_secs(),
        all.answered_per_second,
        all.p99_ms,
        all.refused + all.unanswered
    )
}
