use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How long after they were last read there may still be no token, as far as it is known: a connection that was ended is replaced sooner.
pub(super) const ANONYMOUS_PATIENCE: Duration = Duration::from_secs(5);

/// How long what was read of the tokens holds. Requests look at it without a lock.
#[derive(Debug)]
pub(super) struct Freshness {
    began: Instant,
    /// How long tokens stay in force after they were last read.
    valid_for: Duration,
    /// Both as nanoseconds since it began.
    anonymous_until: AtomicU64,
    in_force_until: AtomicU64,
}

impl Freshness {
    /// Nothing was read yet.
    pub(super) fn new(valid_for: Duration) -> Self {
        Self { began: Instant::now(), valid_for, anonymous_until: AtomicU64::new(0), in_force_until: AtomicU64::new(0) }
    }

    pub(super) fn valid_for(&self) -> Duration {
        self.valid_for
    }

    /// The database said which tokens there are.
    pub(super) fn read(&self, at: Instant) {
        self.in_force_until.store(self.nanos(at + self.valid_for), Ordering::Relaxed);
        self.anonymous_until.store(self.nanos(at + ANONYMOUS_PATIENCE), Ordering::Relaxed);
    }

    /// They are those that the last run read so long ago. Whether there is a first one by now, nobody knows.
    pub(super) fn recalled(&self, at: Instant, age: Duration) {
        self.in_force_until.store(self.nanos(at + self.valid_for.saturating_sub(age)), Ordering::Relaxed);
    }

    /// Whether it is known that there is no token, where none was read.
    pub(super) fn is_recent(&self, at: Instant) -> bool {
        self.nanos(at) < self.anonymous_until.load(Ordering::Relaxed)
    }

    /// Whether those that were read let anybody in.
    pub(super) fn is_in_force(&self, at: Instant) -> bool {
        self.nanos(at) < self.in_force_until.load(Ordering::Relaxed)
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{ANONYMOUS_PATIENCE, Freshness};

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn what_was_read_holds_for_its_time_and_not_longer() {
        let freshness = Freshness::new(DAY);
        let now = Instant::now();
        let after = |time| (freshness.is_recent(now + time), freshness.is_in_force(now + time));
        assert_eq!(after(Duration::ZERO), (false, false), "nothing was read yet");
        freshness.read(now);
        assert_eq!(after(Duration::from_secs(4)), (true, true));
        assert_eq!(after(ANONYMOUS_PATIENCE), (false, true));
        assert_eq!(after(Duration::from_hours(23)), (false, true));
        assert_eq!(after(DAY), (false, false));
        freshness.read(now + DAY);
        assert_eq!(after(DAY), (true, true));
    }

    #[test]
    fn what_the_last_run_read_is_as_old_as_it_is_and_opens_nothing() {
        let now = Instant::now();
        for (age, remaining) in [(0, 24), (23, 1), (24, 0), (25, 0)] {
            let freshness = Freshness::new(DAY);
            freshness.recalled(now, Duration::from_hours(age));
            assert!(!freshness.is_recent(now));
            assert!(!freshness.is_in_force(now + Duration::from_hours(remaining)), "{age}");
            assert_eq!(freshness.is_in_force(now + Duration::from_mins(30)), remaining > 0, "{age}");
        }
    }
}
