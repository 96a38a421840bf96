use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Of the requests that were due, the share that must have been made.
const LEAST_OFFERED: f64 = 0.99;

/// How long goose takes to start all users.
const LAUNCH: Duration = Duration::from_secs(1);

/// The time of the run begins with the first user, or when all users are there.
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    run_time: Duration,
    start: OnceLock<Instant>,
    next: AtomicU64,
    begun: AtomicU64,
}

#[derive(Debug)]
pub(crate) enum Pace {
    /// Each user makes its next request when the last is answered.
    Closed,
    /// Requests a second, whatever the answers take.
    Rate(u32),
    /// Each at its own time after the start, in ascending order.
    Times(Vec<Duration>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Make a request now.
    Now,
    /// Make the request of this number when it is due, or at once if it is late.
    At(u64, Instant),
    /// Make no more requests.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Offered {
    pub(crate) due: u64,
    pub(crate) begun: u64,
    /// Whether nearly all that were due were begun.
    pub(crate) met: bool,
}

impl Pace {
    /// How long after the first user the run begins. Requests at a rate or at their own times begin when all users
    /// are there: a request that is late because users are missing says nothing about the server.
    pub(crate) fn launch(&self) -> Duration {
        if matches!(self, Self::Closed) { Duration::ZERO } else { LAUNCH }
    }
}

impl Schedule {
    pub(crate) fn new(pace: Pace, run_time: Duration) -> Self {
        Self { pace, run_time, start: OnceLock::new(), next: AtomicU64::new(0), begun: AtomicU64::new(0) }
    }

    /// Zero before the run begins.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.get().map(Instant::elapsed).unwrap_or_default()
    }

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

    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// Compares the requests that were due with those that were begun. None for [`Pace::Closed`].
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
