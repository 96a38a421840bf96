//! When requests are due.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Of the requests that were due, the share that must have been made for a run to be what was asked for.
const LEAST_OFFERED: f64 = 0.99;

/// How long goose takes to launch all users.
const LAUNCH: Duration = Duration::from_secs(1);

/// The schedule of a run: the clock begins with the first user that asks for a turn, or when all are there.
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    run_time: Duration,
    start: OnceLock<Instant>,
    next: AtomicU64,
    begun: AtomicU64,
}

/// What decides when a request is made.
#[derive(Debug)]
pub(crate) enum Pace {
    /// Each user makes its next request when the last is answered.
    Closed,
    /// So many requests a second, whatever the answers take.
    Rate(u32),
    /// Each at its own time after the start, ascending.
    Times(Vec<Duration>),
}

/// A user's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// To make a request now.
    Now,
    /// To make the request of that number when it is due, or at once if that is past.
    At(u64, Instant),
    /// To make none: nothing more is due.
    Over,
}

/// Whether the run made the requests that it was asked to make.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Offered {
    /// How many were due.
    pub(crate) due: u64,
    /// How many were begun.
    pub(crate) begun: u64,
    /// Whether that is nearly all.
    pub(crate) met: bool,
}

impl Pace {
    /// How long after the first user's coming the run begins. What is due at a time of its own is due when all are there: a request that
    /// is late for want of a user says nothing about the server.
    pub(crate) fn launch(&self) -> Duration {
        if matches!(self, Self::Closed) { Duration::ZERO } else { LAUNCH }
    }
}

impl Schedule {
    /// A schedule for a run that lasts so long at most.
    pub(crate) fn new(pace: Pace, run_time: Duration) -> Self {
        Self { pace, run_time, start: OnceLock::new(), next: AtomicU64::new(0), begun: AtomicU64::new(0) }
    }

    /// How long the run has lasted; nothing before it begins.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.get().map(Instant::elapsed).unwrap_or_default()
    }

    /// Takes the next turn.
    pub(crate) fn turn(&self) -> Turn {
        let start = *self.start.get_or_init(|| Instant::now() + self.pace.launch());
        if start.elapsed() >= self.run_time {
            return Turn::Over;
        }
        if matches!(self.pace, Pace::Closed) {
            return Turn::Now;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match self.due(number) {
            Some(due) if due < self.run_time => Turn::At(number, start + due),
            _ => Turn::Over,
        }
    }

    /// Notes that a request was begun.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a request was begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// Compares what was due after so long with what was begun. None where nothing is due at a time of its own.
    pub(crate) fn offered(&self, lasted: Duration) -> Option<Offered> {
        let lasted = lasted.min(self.run_time);
        let due = match &self.pace {
            Pace::Closed => return None,
            Pace::Rate(rate) => u64::try_from(lasted.as_micros() * u128::from(*rate) / 1_000_000).unwrap_or(u64::MAX),
            Pace::Times(times) => times.partition_point(|time| *time < lasted) as u64,
        };
        let begun = self.begun.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a share needs few digits")]
        let met = begun as f64 >= due as f64 * LEAST_OFFERED;
        Some(Offered { due, begun, met })
    }

    fn due(&self, number: u64) -> Option<Duration> {
        match &self.pace {
            Pace::Closed => None,
            Pace::Rate(rate) => {
                let nanos = u128::from(number) * 1_000_000_000 / u128::from(*rate);
                Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
            }
            Pace::Times(times) => times.get(usize::try_from(number).unwrap_or(usize::MAX)).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{LAUNCH, Pace, Schedule, Turn};

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn requests_of_a_rate_are_due_one_after_the_other() {
        let schedule = Schedule::new(Pace::Rate(4), MINUTE);
        let Turn::At(0, start) = schedule.turn() else { panic!("the first is due") };
        for number in 1..8_u32 {
            let due = start + Duration::from_millis(250) * number;
            assert_eq!(schedule.turn(), Turn::At(number.into(), due));
        }
    }

    #[test]
    fn nothing_is_due_before_all_users_are_there() {
        for pace in [Pace::Rate(4), Pace::Times(vec![Duration::ZERO])] {
            let schedule = Schedule::new(pace, MINUTE);
            assert_eq!(schedule.elapsed(), Duration::ZERO);
            let before = Instant::now();
            let Turn::At(0, due) = schedule.turn() else { panic!("the first is due") };
            assert!(due >= before + LAUNCH && schedule.elapsed() < LAUNCH, "{:?}", due - before);
        }
    }

    #[test]
    fn nothing_is_due_after_the_end() {
        let schedule = Schedule::new(Pace::Rate(1), Duration::from_secs(2));
        let turns: Vec<Turn> = (0..3).map(|_| schedule.turn()).collect();
        assert!(matches!(turns[..], [Turn::At(0, _), Turn::At(1, _), Turn::Over]), "{turns:?}");
        let schedule = Schedule::new(Pace::Times(vec![Duration::ZERO]), MINUTE);
        assert!(matches!(schedule.turn(), Turn::At(0, _)));
        assert_eq!(schedule.turn(), Turn::Over);
    }

    #[test]
    fn a_run_that_made_fewer_than_99_in_100_did_not_offer_its_rate() {
        let schedule = Schedule::new(Pace::Rate(100), MINUTE);
        for _ in 0..99 {
            schedule.begin();
        }
        let offered = schedule.offered(Duration::from_secs(1)).unwrap();
        assert_eq!((offered.due, offered.begun, offered.met), (100, 99, true));
        assert!(!schedule.offered(Duration::from_millis(1_010)).unwrap().met);
        assert_eq!(Schedule::new(Pace::Closed, MINUTE).offered(MINUTE), None);
    }
}
