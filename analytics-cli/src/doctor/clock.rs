//! Another clock was read at some time between the request and the answer. So the difference between two clocks is
//! known within bounds, and clocks are compared by intervals.

use chrono::{DateTime, TimeDelta, Utc};

use super::finding::Finding;

const BETWEEN: &str = "both clocks";
/// A smaller difference is ok, a greater one a warning.
const UNREMARKABLE: TimeDelta = TimeDelta::seconds(1);
/// A greater one is a problem: events of the current hour are counted in another one.
const BEARABLE: TimeDelta = TimeDelta::minutes(1);

const ADVICE: &str = "the server's clock decides which hour is the current one, and the database's clock what is settled or deleted; \
     synchronize both machines by NTP (`timedatectl` shows whether a machine is synchronized)";

/// How far a clock is ahead of another one: at least `low`, at most `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skew {
    low: TimeDelta,
    high: TimeDelta,
}

impl Skew {
    /// How far the other clock is ahead of ours. It read `says`, rounded down to a multiple of `resolution`, at some
    /// time between two instants of ours.
    pub(crate) fn new(
        asked: DateTime<Utc>,
        says: DateTime<Utc>,
        resolution: TimeDelta,
        answered: DateTime<Utc>,
    ) -> Self {
        // If our own clock was set back meanwhile, `answered` means nothing, but the bounds must be in order.
        let answered = answered.max(asked);
        Self { low: says - answered, high: says + resolution - asked }
    }

    /// Combines two readings of the same clock. If they contradict each other, the later one counts.
    pub(crate) fn and(self, later: Self) -> Self {
        let both = Self { low: self.low.max(later.low), high: self.high.min(later.high) };
        if both.low <= both.high { both } else { later }
    }

    /// How far this clock is ahead of another one; both were compared with ours.
    fn beyond(self, other: Self) -> Self {
        Self { low: self.low - other.high, high: self.high - other.low }
    }

    pub(crate) fn judge(self, check: &'static str, clock: &str, other: &str) -> Finding {
        let Self { low, high } = self;
        if low <= TimeDelta::zero() && high >= TimeDelta::zero() {
            let bound = low.abs().max(high.abs());
            return Finding::ok(check, format!("{clock} agrees with {other} within {}", seconds(bound)));
        }
        let (middle, bound) = ((low + high) / 2, (high - low) / 2);
        let direction = if middle > TimeDelta::zero() { "ahead of" } else { "behind" };
        let seen = format!("{clock} is {} {direction} {other}, ± {}", seconds(middle.abs()), seconds(bound));
        let least = low.abs().min(high.abs());
        if least > BEARABLE {
            Finding::problem(check, seen, ADVICE)
        } else if least > UNREMARKABLE {
            Finding::warning(check, seen, ADVICE)
        } else {
            Finding::ok(check, seen)
        }
    }
}

pub(crate) fn between(server: Option<Skew>, database: Option<Skew>) -> Finding {
    match (server, database) {
        (Some(server), Some(database)) => {
            server.beyond(database).judge(BETWEEN, "the server's clock", "the database's")
        }
        _ => Finding::skipped(BETWEEN, "one of the two clocks could not be read", "first correct the cause of that"),
    }
}

fn seconds(time: TimeDelta) -> String {
    let millis = time.num_milliseconds();
    format!("{}.{:03} s", millis / 1_000, millis % 1_000)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::Skew;
    use crate::doctor::finding::Health;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    fn skew(asked: i64, says: i64, resolution: i64, answered: i64) -> Skew {
        Skew::new(at(asked), at(says), TimeDelta::milliseconds(resolution), at(answered))
    }

    #[test]
    fn a_difference_is_judged_by_what_it_must_be_at_least() {
        for (look, health, seen) in [
            (skew(1_000, 1_000, 1_000, 1_200), Health::Ok, "it agrees with ours within 1.000 s"),
            (skew(1_900, 1_000, 1_000, 1_950), Health::Ok, "it agrees with ours within 0.950 s"),
            (skew(5_000, 5_004, 0, 5_010), Health::Ok, "it agrees with ours within 0.006 s"),
            (skew(5_000, 5_500, 0, 5_010), Health::Ok, "it is 0.495 s ahead of ours, ± 0.005 s"),
            (skew(9_000, 5_000, 0, 9_100), Health::Warning, "it is 4.050 s behind ours, ± 0.050 s"),
            // Three seconds ahead, of which the resolution and the way may have been two.
            (skew(0, 3_000, 1_000, 1_000), Health::Warning, "it is 3.000 s ahead of ours, ± 1.000 s"),
            (skew(0, 90_000, 1_000, 100), Health::Problem, "it is 90.450 s ahead of ours, ± 0.550 s"),
            // A slow answer proves nothing.
            (skew(0, 90_000, 1_000, 90_000), Health::Ok, "it agrees with ours within 91.000 s"),
        ] {
            let finding = look.judge("clock", "it", "ours");
            assert_eq!((finding.health, finding.seen.as_str()), (health, seen));
            assert_eq!(finding.advice.is_some(), health != Health::Ok);
        }
    }

    #[test]
    fn readings_of_one_clock_narrow_the_bounds() {
        let (first, second) = (skew(0, 0, 1_000, 10), skew(900, 1_000, 1_000, 910));
        assert_eq!(first.and(second), Skew { low: TimeDelta::milliseconds(90), high: TimeDelta::milliseconds(1_000) });
        let stepped = skew(1_000, 90_000, 1_000, 1_010);
        assert_eq!(first.and(stepped), stepped);
    }

    #[test]
    fn two_clocks_are_compared_by_way_of_ours() {
        let (server, database) = (skew(0, 5_000, 1_000, 100), skew(0, 2_000, 0, 10));
        let between = server.beyond(database);
        assert_eq!(between, Skew { low: TimeDelta::milliseconds(2_900), high: TimeDelta::milliseconds(4_010) });
    }
}
