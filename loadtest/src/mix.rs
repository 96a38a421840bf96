use model::{Event, EventKind, Hour, Timestamp, UserName};
use rand::{Rng, RngExt};

/// The share of requests that are for the current hour.
const CURRENT_SHARE: f64 = 0.95;
/// How many hours before the current one past requests are for; each is as likely as the others.
const PAST_HOURS: u32 = 72;
/// How many different users there are.
const USERS: u32 = 10_000;
/// The share of events that are clicks.
const CLICK_SHARE: f64 = 0.1;

/// Which hours a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// The hour that holds the present.
    Current,
    /// One of the [`PAST_HOURS`] before it.
    Past,
}

impl Age {
    /// The name in reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Past => "past",
        }
    }
}

/// An instant to send an event for, or to ask the counts of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The instant.
    pub(crate) at: Timestamp,
    /// Which hours it was chosen from.
    pub(crate) age: Age,
}

impl Moment {
    /// Chooses the present, or now and then an instant of a past hour.
    pub(crate) fn choose(rng: &mut impl Rng, now: Timestamp) -> Self {
        if rng.random_bool(CURRENT_SHARE) {
            return Self { at: now, age: Age::Current };
        }
        let current = Hour::containing(now);
        let before = rng.random_range(1..=PAST_HOURS);
        let hour = (0..before).try_fold(current, |hour, _| hour.previous()).expect("the present is long after 1970");
        let end = hour.next().expect("the hour is before the current one").start();
        let at = Timestamp::from_millis(rng.random_range(hour.start().millis()..end.millis()));
        Self { at: at.expect("it lies between two timestamps"), age: Age::Past }
    }
}

/// Chooses who did what at an instant.
pub(crate) fn choose_event(rng: &mut impl Rng, at: Timestamp) -> Event {
    let user = UserName::new(format!("user-{}", rng.random_range(0..USERS))).expect("the name is short and has no NUL");
    let kind = if rng.random_bool(CLICK_SHARE) { EventKind::Click } else { EventKind::Impression };
    Event { at, user, kind }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use model::{EventKind, Hour, Timestamp};
    use rand::{SeedableRng, rngs::StdRng};

    use super::{Age, Moment, PAST_HOURS, USERS, choose_event};

    const DRAWS: u32 = 100_000;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(20_150_517)
    }

    /// Moments chosen at the first, a middle and the last millisecond of an hour.
    fn moments() -> Vec<(Timestamp, Moment)> {
        let mut rng = rng();
        let start = 1_431_856_800_000;
        let present = [start, start + 303_000, start + 3_599_999].map(|millis| Timestamp::from_millis(millis).unwrap());
        present.iter().cycle().take(DRAWS as usize).map(|&now| (now, Moment::choose(&mut rng, now))).collect()
    }

    #[test]
    fn five_percent_are_for_past_hours() {
        let past = moments().iter().filter(|(_, moment)| moment.age == Age::Past).count();
        // 5,000 are expected with a standard deviation of 69; the bounds are five of those away.
        assert!((4_655..=5_345).contains(&past), "{past}");
    }

    #[test]
    fn the_present_is_asked_for_as_it_is_and_the_past_never_lies_in_the_current_hour() {
        for (now, Moment { at, age }) in moments() {
            match age {
                Age::Current => assert_eq!(at, now),
                Age::Past => {
                    let hours =
                        (Hour::containing(now).start().millis() - Hour::containing(at).start().millis()) / 3_600_000;
                    assert!((1..=i64::from(PAST_HOURS)).contains(&hours), "{hours}");
                }
            }
        }
    }

    #[test]
    fn every_past_hour_has_its_turn_about_as_often() {
        let mut turns: HashMap<Hour, u32> = HashMap::new();
        for (_, moment) in moments().iter().filter(|(_, moment)| moment.age == Age::Past) {
            *turns.entry(Hour::containing(moment.at)).or_default() += 1;
        }
        assert_eq!(turns.len(), PAST_HOURS as usize);
        // 69 are expected with a standard deviation of 8; the bounds are five of those away.
        assert!(turns.values().all(|turns| (28..=110).contains(turns)), "{turns:?}");
    }

    #[test]
    fn one_event_in_ten_is_a_click_and_users_come_from_a_bounded_set() {
        let mut rng = rng();
        let events: Vec<_> = (0..DRAWS).map(|_| choose_event(&mut rng, Timestamp::MIN)).collect();
        let clicks = events.iter().filter(|event| event.kind == EventKind::Click).count();
        // 10,000 are expected with a standard deviation of 95; the bounds are five of those away.
        assert!((9_525..=10_475).contains(&clicks), "{clicks}");
        let users: HashSet<_> = events.iter().map(|event| event.user.as_str()).collect();
        assert!(users.len() <= USERS as usize && users.len() > USERS as usize * 99 / 100, "{}", users.len());
    }
}
