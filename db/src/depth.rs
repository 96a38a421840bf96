//! How many batches are under way at a time.

use std::{num::NonZero, time::Duration};

/// The most batches that are under way at a time.
pub const MAX_DEPTH: NonZero<usize> = NonZero::new(4).expect("it is not zero");

/// How many batches may be under way on one connection at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// One, and one more for each time that the way to the database and back is as long as a commit. A batch is sent ahead once as much waits as the
    /// one before it took.
    Measured,
    /// As many as these, and each is sent as soon as anything waits.
    Fixed(NonZero<usize>),
}

/// What decides whether a batch is sent ahead.
pub(crate) struct Pace {
    depth: Depth,
    /// How long the database works on a batch, on average over the last ones.
    work: Option<Duration>,
}

impl Pace {
    pub(crate) fn new(depth: Depth) -> Self {
        Self { depth, work: None }
    }

    /// Notes that a batch was stored, how long after it was sent, and how long after it was the oldest.
    pub(crate) fn took(&mut self, since_sent: Duration, since_oldest: Duration, round_trip: Duration) {
        let work = since_sent.saturating_sub(round_trip).min(since_oldest);
        self.work = Some(self.work.map_or(work, |before| (before * 7 + work) / 8));
    }

    /// How much has to wait before one more is sent behind so many, of which the last one took `newest`; none if none is.
    pub(crate) fn wanted(&self, under_way: usize, round_trip: Duration, newest: usize) -> Option<usize> {
        match self.depth {
            Depth::Fixed(depth) => (under_way < depth.get()).then_some(1),
            Depth::Measured => (under_way < self.measured(round_trip)).then_some(newest.max(1)),
        }
    }

    /// With one batch under way the database waits for a round trip between two commits. With another one sent ahead it does not, but then the same
    /// clients are spread over three batches instead of two: the one that is stored, the one that waits in the database, and the one that gathers. A
    /// commit stores two thirds as many events, so that it pays from half of a commit on, and costs the database a third more for each event. So on one
    /// machine, whose processors all share, it does not pay before a whole one.
    fn measured(&self, round_trip: Duration) -> usize {
        let Some(work) = self.work.filter(|work| !work.is_zero()) else { return 1 };
        let ahead = round_trip.as_nanos() / work.as_nanos();
        usize::try_from(1 + ahead).unwrap_or(usize::MAX).min(MAX_DEPTH.get())
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZero, time::Duration};

    use super::{Depth, Pace};

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn measured(work: Duration) -> Pace {
        let mut pace = Pace::new(Depth::Measured);
        pace.took(work + micros(100), work + micros(100), micros(100));
        pace
    }

    #[test]
    fn a_batch_more_is_sent_ahead_for_each_time_that_the_way_takes_as_long_as_a_commit() {
        let pace = measured(micros(500));
        for (round_trip, most) in [(0, 1), (499, 1), (500, 2), (999, 2), (1_000, 3), (1_500, 4), (90_000, 4)] {
            let wanted: Vec<_> = (1..=5).map(|under_way| pace.wanted(under_way, micros(round_trip), 30)).collect();
            let expected: Vec<_> = (1..=5).map(|under_way| (under_way < most).then_some(30)).collect();
            assert_eq!(wanted, expected, "{round_trip} µs");
        }
    }

    #[test]
    fn a_slow_disk_makes_no_batch_go_ahead() {
        assert_eq!(measured(micros(2_300)).wanted(1, micros(500), 30), None);
        assert_eq!(Pace::new(Depth::Measured).wanted(1, micros(500), 30), None, "before anything is known");
    }

    #[test]
    fn the_time_in_the_database_leaves_out_the_way_and_the_batches_before() {
        let mut pace = Pace::new(Depth::Measured);
        pace.took(micros(900), micros(900), micros(500));
        assert_eq!(pace.work, Some(micros(400)));
        pace.took(micros(2_000), micros(400), micros(500));
        assert_eq!(pace.work, Some(micros(400)));
        pace.took(micros(100), micros(100), micros(500));
        assert_eq!(pace.work, Some(micros(350)));
    }

    #[test]
    fn a_fixed_depth_waits_for_nothing() {
        let pace = Pace::new(Depth::Fixed(NonZero::new(2).unwrap()));
        assert_eq!([1, 2, 3].map(|under_way| pace.wanted(under_way, Duration::ZERO, 30)), [Some(1), None, None]);
    }
}
