//! How far from now an event's timestamp may lie. The daemon checks this once, when an event arrives. An accepted event
//! stays accepted, however long it waits in the spool.

use std::time::Duration;

use model::Timestamp;
use thiserror::Error;

/// How far from now events may lie. `None` means no limit but that of [`Timestamp`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AgeLimits {
    /// The greatest age of an event.
    pub(crate) max_age: Option<Duration>,
    /// How far in the future an event may lie.
    pub(crate) max_future: Option<Duration>,
}

/// The timestamps that are accepted at one instant, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AcceptedTimes {
    first: Timestamp,
    last: Timestamp,
}

/// A timestamp outside [`AcceptedTimes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("timestamp {} what this server accepts: from {} to {}", if *.is_late { "is later than" } else { "is earlier than" },
    rfc3339(.accepted.first), rfc3339(.accepted.last))]
pub(crate) struct OutOfRange {
    accepted: AcceptedTimes,
    is_late: bool,
}

impl AgeLimits {
    /// The timestamps that are accepted now, by this machine's clock.
    pub(crate) fn now(self) -> AcceptedTimes {
        // Without limits the clock is not read.
        if self == Self::default() { AcceptedTimes::ALL } else { self.at(Timestamp::now()) }
    }

    fn at(self, now: Timestamp) -> AcceptedTimes {
        let millis = |limit: Duration| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let first = self.max_age.and_then(|age| Timestamp::from_millis(now.millis().saturating_sub(millis(age))).ok());
        let last =
            self.max_future.and_then(|ahead| Timestamp::from_millis(now.millis().saturating_add(millis(ahead))).ok());
        AcceptedTimes { first: first.unwrap_or(Timestamp::MIN), last: last.unwrap_or(Timestamp::MAX) }
    }
}

impl AcceptedTimes {
    const ALL: Self = Self { first: Timestamp::MIN, last: Timestamp::MAX };

    pub(crate) fn check(self, at: Timestamp) -> Result<(), OutOfRange> {
        if at < self.first {
            Err(OutOfRange { accepted: self, is_late: false })
        } else if at > self.last {
            Err(OutOfRange { accepted: self, is_late: true })
        } else {
            Ok(())
        }
    }
}

impl OutOfRange {
    /// The accepted range, for a problem document.
    pub(crate) fn accepted(self) -> String {
        let AcceptedTimes { first, last } = self.accepted;
        format!("from {} to {}, in milliseconds since 1970", rfc3339(first), rfc3339(last))
    }
}

pub(crate) fn rfc3339(at: Timestamp) -> String {
    at.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Timestamp;
    use proptest::prelude::*;

    use super::{AcceptedTimes, AgeLimits};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn without_limits_every_timestamp_is_accepted() {
        for limits in [AgeLimits::default().now(), AgeLimits::default().at(at(1))] {
            assert_eq!(limits, AcceptedTimes::ALL);
        }
        let longest = AgeLimits { max_age: Some(Duration::MAX), max_future: Some(Duration::MAX) };
        assert_eq!(longest.at(at(1)), AcceptedTimes::ALL);
    }

    #[test]
    fn a_refusal_names_the_accepted_range() {
        let limits = AgeLimits { max_age: Some(Duration::from_mins(1)), max_future: Some(Duration::ZERO) };
        let accepted = limits.at(at(1_431_857_103_000));
        assert_eq!(
            accepted.check(at(0)).unwrap_err().to_string(),
            "timestamp is earlier than what this server accepts: from 2015-05-17T10:04:03.000Z to 2015-05-17T10:05:03.000Z"
        );
        let late = accepted.check(Timestamp::MAX).unwrap_err();
        assert!(late.to_string().starts_with("timestamp is later than what this server accepts: from "), "{late}");
        assert!(late.accepted().starts_with("from 2015-05-17T10:04:03.000Z to "), "{late:?}");
    }

    proptest! {
        #[test]
        fn an_event_is_accepted_exactly_up_to_the_limits(
            now in 0..=Timestamp::MAX.millis(),
            age in proptest::option::of(0..=Timestamp::MAX.millis() * 2),
            ahead in proptest::option::of(0..=Timestamp::MAX.millis() * 2),
            // Often at an end of the range or beside it, where mistakes are likely.
            (end, beside) in (0..4, -1..=1_i64),
            anywhere in 0..=Timestamp::MAX.millis(),
        ) {
            let (first, last) = (now - age.unwrap_or(now), now + ahead.unwrap_or(Timestamp::MAX.millis() - now));
            let event = match end { 0 => first + beside, 1 => last + beside, 2 => now + beside, _ => anywhere };
            let event = event.clamp(0, Timestamp::MAX.millis());
            let duration = |millis: i64| Duration::from_millis(millis.try_into().unwrap());
            let limits = AgeLimits { max_age: age.map(duration), max_future: ahead.map(duration) };
            prop_assert_eq!(limits.at(at(now)).check(at(event)).is_ok(), (first..=last).contains(&event));
        }
    }
}
