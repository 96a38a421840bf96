use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How long after the last read the daemon may assume that there is still no token. A closed connection is replaced
/// sooner.
pub(super) const ANONYMOUS_PATIENCE: Duration = Duration::from_secs(5);

/// How long the tokens that were read are valid. Requests check it without a lock.
#[derive(Debug)]
pub(super) struct Freshness {
    began: Instant,
    /// How long tokens stay valid after they were last read.
    valid_for: Duration,
    /// Both in nanoseconds since `began`.
    anonymous_until: AtomicU64,
    in_force_until: AtomicU64,
}

impl Freshness {
    /// Before the first read.
    pub(super) fn new(valid_for: Duration) -> Self {
        Self { began: Instant::now(), valid_for, anonymous_until: AtomicU64::new(0), in_force_until: AtomicU64::new(0) }
    }

    pub(super) fn valid_for(&self) -> Duration {
        self.valid_for
    }

    /// Notes that the tokens were read from the database.
    pub(super) fn read(&self, at: Instant) {
        self.in_force_until.store(self.nanos(at + self.valid_for), Ordering::Relaxed);
        self.anonymous_until.store(self.nanos(at + ANONYMOUS_PATIENCE), Ordering::Relaxed);
    }

    /// Notes that the tokens come from the last run, read `age` ago. Whether a first token exists by now is not known.
    pub(super) fn recalled(&self, at: Instant, age: Duration) {
        self.in_force_until.store(self.nanos(at + self.valid_for.saturating_sub(age)), Ordering::Relaxed);
    }

    /// Whether the tokens were read so recently that no token means that there is none.
    pub(super) fn is_recent(&self, at: Instant) -> bool {
        self.nanos(at) < self.anonymous_until.load(Ordering::Relaxed)
    }

    /// Whether the tokens that were read are still valid.
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
    fn tokens_that_were_read_are_valid_for_their_time_and_no_longer() {
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
    fn tokens_of_the_last_run_keep_their_age_and_never_allow_requests_without_one() {
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
