use std::time::Duration;

/// Counts failures in a row, and gives the pause after each.
#[derive(Debug, Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    const FIRST_PAUSE: Duration = Duration::from_millis(20);
    const LONGEST_PAUSE: Duration = Duration::from_millis(250);

    /// Counts a failure. Returns the pause after it: twice the last one, within bounds.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = Self::FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.0)).min(Self::LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn the_pause_after_each_setback_is_twice_the_last_one_until_it_is_long_enough() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..6).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [20, 40, 80, 160, 250, 250]);
        assert_eq!((0..100).map(|_| backoff.pause()).max(), Some(Duration::from_millis(250)));
    }
}
