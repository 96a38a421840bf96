//! What a range has in all.

use client::{Periods, UniqueUsers};
use model::{Calendar, Step, Timestamp};

use super::label;

/// The most hours that a warning names.
const MAX_NAMED: usize = 3;

/// The range and its time zone, of weeks up to their last day, and in the next line what all of its periods have together.
pub(crate) fn summary(periods: &Periods, step: Step, calendar: Calendar, now: Timestamp) -> String {
    let [Some(first), Some(last)] = [periods.periods.first(), periods.periods.last()] else { return String::new() };
    let from = label(step, first);
    let to = if step == Step::Week { calendar.date(last.to.start()).to_string() } else { label(step, last) };
    let range = if from == to { from } else { format!("{from} to {to}") };
    let so_far = if is_unfinished(periods, now) { " so far" } else { "" };
    let users = match periods.unique_users {
        UniqueUsers::Exactly(users) => counted(users, "unique user"),
        UniqueUsers::Unknown => "unknown unique users".to_owned(),
    };
    let totals = periods.totals();
    let (clicks, impressions) = (counted(totals.clicks, "click"), counted(totals.impressions, "impression"));
    format!("{range}{so_far}, {calendar}\n{users}, {clicks}, {impressions}\n")
}

/// Whether the unique users of a period are unknown.
pub(crate) fn lacks_users(periods: &Periods) -> bool {
    periods.periods.iter().any(|period| period.unique_users.is_none())
}

/// Whether the last period is not over.
pub(crate) fn is_unfinished(periods: &Periods, now: Timestamp) -> bool {
    periods.periods.last().is_some_and(|last| now < last.to.plus(1).start())
}

/// A number of things, as in `1 click` or `2 clicks`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A warning, if unique users are unknown: the reason, and what helps.
pub(crate) fn why_unknown(periods: &Periods) -> Option<String> {
    let hours = &periods.unknown_in;
    let named: Vec<String> = hours.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let (named, more) = (named.join(", "), hours.len().saturating_sub(MAX_NAMED));
    let which = match (hours.len(), more) {
        (0, _) => return None,
        (1, _) => format!("the hour {named} was settled without its visitors"),
        (_, 0) => format!("the hours {named} were settled without their visitors"),
        _ => format!("the hours {named} and others were settled without their visitors"),
    };
    let whose = if lacks_users(periods) { "" } else { " of the range" };
    Some(format!("unique users{whose} are unknown, because {which}: run `analytics-cli backfill`"))
}

#[cfg(test)]
mod tests {
    use client::{Periods, UniqueUsers};
    use model::{Calendar, Hour, Period, Step, Timestamp};

    use super::{summary, why_unknown};

    fn hour(text: &str) -> Hour {
        text.parse().unwrap()
    }

    fn periods(unique_users: UniqueUsers) -> Periods {
        let period = |day: u32| Period {
            start: format!("2015-05-{day}T00:00:00+00:00"),
            from: hour(&format!("2015-05-{day}T00:00:00Z")),
            to: hour(&format!("2015-05-{day}T23:00:00Z")),
            unique_users: Some(2),
            clicks: 1,
            impressions: 10,
            settled: false,
        };
        Periods { periods: vec![period(16), period(17)], unique_users, unknown_in: Vec::new() }
    }

    #[test]
    fn a_range_is_told_with_its_zone_and_what_it_has_in_all() {
        let told = |users, now: &str| {
            summary(&periods(users), Step::Day, Calendar::UTC, Timestamp::parse_either(now).unwrap())
        };
        assert_eq!(
            told(UniqueUsers::Exactly(3), "2015-05-18T00:00:00Z"),
            "2015-05-16 to 2015-05-17, UTC\n3 unique users, 2 clicks, 20 impressions\n"
        );
        assert_eq!(
            told(UniqueUsers::Unknown, "2015-05-17T23:59:59Z"),
            "2015-05-16 to 2015-05-17 so far, UTC\nunknown unique users, 2 clicks, 20 impressions\n"
        );
    }

    #[test]
    fn weeks_are_told_up_to_the_last_day_of_the_last_one() {
        let mut week = periods(UniqueUsers::Exactly(3));
        week.periods.truncate(1);
        week.periods[0].start = "2015-05-18T00:00:00+02:00".to_owned();
        week.periods[0].to = hour("2015-05-24T21:00:00Z");
        let berlin: Calendar = "Europe/Berlin".parse().unwrap();
        let told = summary(&week, Step::Week, berlin, Timestamp::MAX);
        assert!(told.starts_with("2015-05-18 to 2015-05-24, Europe/Berlin\n"), "{told}");
    }

    #[test]
    fn what_is_unknown_is_told_with_the_reason_and_what_helps() {
        let of = |count: i64| {
            let unknown_in = (0..count).map(|number| hour("2015-05-17T10:00:00Z").plus(number)).collect();
            why_unknown(&Periods { unknown_in, ..Periods::default() })
        };
        assert_eq!(of(0), None);
        assert_eq!(
            of(1).unwrap(),
            "unique users of the range are unknown, because the hour 2015-05-17T10:00:00Z was settled without its visitors: run `analytics-cli backfill`"
        );
        assert!(of(3).unwrap().contains("T10:00:00Z, 2015-05-17T11:00:00Z, 2015-05-17T12:00:00Z were settled"));
        assert!(of(9).unwrap().contains("T12:00:00Z and others were settled without their visitors"));
    }
}
