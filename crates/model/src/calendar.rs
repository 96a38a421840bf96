//! Hours, days, weeks and months of a time zone, as whole UTC hours.

use std::{fmt, iter, ops::RangeInclusive, str::FromStr};

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike};
use chrono_tz::{TZ_VARIANTS, Tz, UTC};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Hour, InvalidInput, Timestamp};

/// How long the periods of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// A UTC hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday, as in ISO 8601.
    Week,
    /// A calendar month.
    Month,
}

impl Step {
    pub const PARAMETER: &'static str = "step";
    pub const ACCEPTED: &'static str = "hour, day, week or month";
    pub const NAMES: [&'static str; 4] = ["hour", "day", "week", "month"];

    /// The first day of the step that holds a day, and that of the next.
    fn bounds(self, day: NaiveDate) -> (NaiveDate, NaiveDate) {
        let first = match self {
            Self::Hour | Self::Day => day,
            Self::Week => day - Days::new(day.weekday().num_days_from_monday().into()),
            Self::Month => day.with_day(1).expect("every month has a first day"),
        };
        let next = match self {
            Self::Hour | Self::Day => first + Days::new(1),
            Self::Week => first + Days::new(7),
            Self::Month => first + Months::new(1),
        };
        (first, next)
    }
}

impl FromStr for Step {
    type Err = InvalidInput;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            _ => {
                let fault = "is unknown".to_owned();
                return Err(InvalidInput { parameter: Self::PARAMETER, fault, accepted: Self::ACCEPTED });
            }
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        })
    }
}

/// A time zone of the IANA database, such as `Europe/Berlin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar(Tz);

impl Calendar {
    pub const PARAMETER: &'static str = "time_zone";
    pub const ACCEPTED: &'static str =
        "a name of the IANA time zone database whose offset from UTC is whole hours, like Europe/Berlin";
    pub const UTC: Self = Self(UTC);

    /// The steps from the one that holds the first hour to the one that holds the last, but at most so many. Each begins
    /// and ends with a whole UTC hour.
    ///
    /// # Errors
    /// Where one would begin within a UTC hour, since what is counted is counted by UTC hours.
    pub fn periods(
        self,
        step: Step,
        range: &RangeInclusive<Hour>,
        most: usize,
    ) -> Result<Vec<RangeInclusive<Hour>>, InvalidInput> {
        let first = self.period(step, *range.start());
        let next = |period: &Result<RangeInclusive<Hour>, InvalidInput>| {
            let next = period.as_ref().ok()?.end().next().filter(|next| next <= range.end())?;
            Some(self.period(step, next))
        };
        iter::successors(Some(first), next).take(most).collect()
    }

    /// When the step begins that is so many before the one that holds an hour; none where there are not as many.
    ///
    /// # Errors
    /// As [`Calendar::periods`].
    pub fn back(self, step: Step, at: Hour, count: usize) -> Result<Option<Hour>, InvalidInput> {
        let mut first = *self.period(step, at)?.start();
        for _ in 0..count {
            let Some(last) = first.previous() else { return Ok(None) };
            first = *self.period(step, last)?.start();
        }
        Ok(Some(first))
    }

    /// The step that holds an hour.
    ///
    /// # Errors
    /// As [`Calendar::periods`].
    pub fn period(self, step: Step, at: Hour) -> Result<RangeInclusive<Hour>, InvalidInput> {
        let local = at.start().to_utc().with_timezone(&self.0);
        if step == Step::Hour {
            return if local.minute() == 0 && local.second() == 0 { Ok(at..=at) } else { Err(self.not_whole(local)) };
        }
        let (first, next) = step.bounds(local.date_naive());
        self.days(first, next)
    }

    /// The first hour of the step that is so many steps before the one that holds an hour.
    ///
    /// # Errors
    /// Where it would begin within a UTC hour.
    pub fn earlier(self, step: Step, at: Hour, steps: u32) -> Result<Hour, InvalidInput> {
        let (first, _) = step.bounds(at.start().to_utc().with_timezone(&self.0).date_naive());
        let first = match step {
            Step::Hour => return Ok(at.plus(-i64::from(steps))),
            Step::Day => first - Days::new(steps.into()),
            Step::Week => first - Days::new(7 * u64::from(steps)),
            Step::Month => first - Months::new(steps),
        };
        Ok(self.midnight(first)?.unwrap_or(Hour::containing(Timestamp::MIN)))
    }

    /// The hours of a day, from its midnight to the next; none if the zone has left the day out, or it lies outside of
    /// what is counted.
    ///
    /// # Errors
    /// Where it does not begin and end with a whole UTC hour.
    pub fn day(self, day: NaiveDate) -> Result<Option<RangeInclusive<Hour>>, InvalidInput> {
        let Some(behind) = day.succ_opt() else { return Ok(None) };
        let hours = self.days(day, behind)?;
        let begins_on = |hour: &Hour| hour.start().to_utc().with_timezone(&self.0).date_naive();
        Ok(Some(hours).filter(|hours| begins_on(hours.start()) == day))
    }

    /// The hours from a day up to but not including another. Those that are outside of what is counted are left out.
    fn days(self, first: NaiveDate, behind: NaiveDate) -> Result<RangeInclusive<Hour>, InvalidInput> {
        let (first, behind) = (self.midnight(first)?, self.midnight(behind)?);
        let last = behind.and_then(Hour::previous).unwrap_or(Hour::containing(Timestamp::MAX));
        Ok(first.unwrap_or(Hour::containing(Timestamp::MIN))..=last)
    }

    /// The day of an instant.
    pub fn date(self, at: Timestamp) -> NaiveDate {
        at.to_utc().with_timezone(&self.0).date_naive()
    }

    /// The first hour of a day; none where that lies outside of what is counted.
    fn midnight(self, day: NaiveDate) -> Result<Option<Hour>, InvalidInput> {
        self.hour_at(day.and_time(NaiveTime::MIN))
    }

    /// The hour that begins when the clocks show this; none where that lies outside of what is counted. Where the clocks go forward over it, it
    /// begins then.
    ///
    /// # Errors
    /// As [`Calendar::periods`].
    pub fn hour_at(self, local: NaiveDateTime) -> Result<Option<Hour>, InvalidInput> {
        let begins = (0..=96)
            .find_map(|quarters| self.0.from_local_datetime(&(local + TimeDelta::minutes(15 * quarters))).earliest());
        let Some(begins) = begins else { return Ok(None) };
        if begins.timestamp().rem_euclid(3_600) != 0 {
            return Err(self.not_whole(begins));
        }
        Ok(Hour::starting_at(begins.to_utc()))
    }

    fn not_whole(self, at: DateTime<Tz>) -> InvalidInput {
        let fault = format!(
            "{} is off UTC by {}, so its periods begin within a UTC hour, of which only whole ones are counted",
            self.0.name(),
            at.format("%:z")
        );
        InvalidInput { parameter: Self::PARAMETER, fault, accepted: Self::ACCEPTED }
    }

    /// When an hour begins, with the offset of the zone, as RFC 3339.
    pub fn local(self, at: Hour) -> String {
        at.start().to_utc().with_timezone(&self.0).to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
    }
}

impl FromStr for Calendar {
    type Err = InvalidInput;

    /// Small letters are as good as capitals.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let alike = || TZ_VARIANTS.into_iter().find(|zone| zone.name().eq_ignore_ascii_case(name));
        name.parse().ok().or_else(alike).map(Self).ok_or_else(|| InvalidInput {
            parameter: Self::PARAMETER,
            fault: "is unknown".to_owned(),
            accepted: Self::ACCEPTED,
        })
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Calendar, Step};
    use crate::{Hour, Timestamp};

    fn hour(text: &str) -> Hour {
        text.parse().unwrap()
    }

    fn periods(zone: &str, step: Step, first: &str, last: &str) -> Vec<(String, String)> {
        let calendar: Calendar = zone.parse().unwrap();
        let found = calendar.periods(step, &(hour(first)..=hour(last)), 1_000).unwrap();
        found.into_iter().map(|period| (period.start().to_string(), period.end().to_string())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(first, last)| ((*first).to_owned(), (*last).to_owned())).collect()
    }

    #[test]
    fn days_begin_at_midnight_of_the_zone_also_where_the_clocks_change() {
        let berlin = periods("Europe/Berlin", Step::Day, "2015-03-28T12:00:00Z", "2015-03-30T12:00:00Z");
        let expected = [
            ("2015-03-27T23:00:00Z", "2015-03-28T22:00:00Z"),
            ("2015-03-28T23:00:00Z", "2015-03-29T21:00:00Z"),
            ("2015-03-29T22:00:00Z", "2015-03-30T21:00:00Z"),
        ];
        assert_eq!(berlin, pairs(&expected), "the 29th has 23 hours");
        let sao_paulo = periods("America/Sao_Paulo", Step::Day, "2015-10-18T12:00:00Z", "2015-10-18T12:00:00Z");
        assert_eq!(sao_paulo, pairs(&[("2015-10-18T03:00:00Z", "2015-10-19T01:00:00Z")]), "it has no midnight");
        let apia = periods("Pacific/Apia", Step::Day, "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z");
        let expected =
            [("2011-12-29T10:00:00Z", "2011-12-30T09:00:00Z"), ("2011-12-30T10:00:00Z", "2011-12-31T09:00:00Z")];
        assert_eq!(apia, pairs(&expected), "the 30th was left out");
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let weeks = periods("UTC", Step::Week, "2015-05-17T10:00:00Z", "2015-05-18T10:00:00Z");
        let expected =
            [("2015-05-11T00:00:00Z", "2015-05-17T23:00:00Z"), ("2015-05-18T00:00:00Z", "2015-05-24T23:00:00Z")];
        assert_eq!(weeks, pairs(&expected));
        let months = periods("Asia/Tokyo", Step::Month, "2016-02-29T15:00:00Z", "2016-02-29T15:00:00Z");
        assert_eq!(months, pairs(&[("2016-02-29T15:00:00Z", "2016-03-31T14:00:00Z")]));
    }

    #[test]
    fn so_many_steps_back_are_whole_ones_also_where_the_clocks_change() {
        let berlin: Calendar = "Europe/Berlin".parse().unwrap();
        let back = |step, count| {
            let first = berlin.back(step, hour("2015-03-30T12:00:00Z"), count).unwrap();
            first.map(|first| berlin.local(first))
        };
        assert_eq!(back(Step::Day, 0).unwrap(), "2015-03-30T00:00:00+02:00");
        assert_eq!(back(Step::Day, 2).unwrap(), "2015-03-28T00:00:00+01:00");
        assert_eq!(back(Step::Hour, 40).unwrap(), "2015-03-28T21:00:00+01:00");
        assert_eq!(back(Step::Month, 14).unwrap(), "2014-01-01T00:00:00+01:00");
        assert_eq!(back(Step::Month, 600), None);
    }

    #[test]
    fn earlier_steps_are_counted_by_the_calendar() {
        let earlier = |zone: &str, step, at: &str, steps| {
            zone.parse::<Calendar>().unwrap().earlier(step, hour(at), steps).unwrap().to_string()
        };
        assert_eq!(earlier("UTC", Step::Hour, "2015-05-17T10:00:00Z", 23), "2015-05-16T11:00:00Z");
        assert_eq!(earlier("Europe/Berlin", Step::Day, "2015-04-27T22:00:00Z", 29), "2015-03-29T22:00:00Z");
        assert_eq!(earlier("Europe/Berlin", Step::Day, "2015-04-27T21:00:00Z", 29), "2015-03-28T23:00:00Z");
        assert_eq!(earlier("UTC", Step::Week, "2015-05-17T10:00:00Z", 1), "2015-05-04T00:00:00Z");
        assert_eq!(earlier("UTC", Step::Month, "2016-02-29T10:00:00Z", 11), "2015-03-01T00:00:00Z");
        assert_eq!(earlier("UTC", Step::Month, "1970-01-01T00:00:00Z", 11), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_zone_that_is_off_by_parts_of_an_hour_is_refused_with_the_reason() {
        for (zone, offset) in [("Asia/Kolkata", "+05:30"), ("Asia/Kathmandu", "+05:45")] {
            let calendar: Calendar = zone.parse().unwrap();
            let range = hour("2015-05-17T10:00:00Z")..=hour("2015-05-17T10:00:00Z");
            for step in [Step::Hour, Step::Day, Step::Week, Step::Month] {
                let refused = calendar.periods(step, &range, 1).unwrap_err().to_string();
                assert!(refused.contains(offset), "{refused}");
            }
        }
        assert!("Mars/Olympus".parse::<Calendar>().is_err());
    }

    #[test]
    fn a_zone_is_known_in_small_letters_too() {
        for name in ["Europe/Berlin", "europe/berlin", "Europe/berlin"] {
            assert_eq!(name.parse::<Calendar>().unwrap().to_string(), "Europe/Berlin");
        }
    }

    #[test]
    fn a_day_has_the_hours_between_its_midnights_and_some_days_are_none() {
        let day = |zone: &str, day: &str| {
            let hours = zone.parse::<Calendar>().unwrap().day(day.parse().unwrap()).unwrap();
            hours.map(|hours| (hours.start().to_string(), hours.end().to_string()))
        };
        let pair = |first: &str, last: &str| Some((first.to_owned(), last.to_owned()));
        assert_eq!(day("Europe/Berlin", "2015-03-29"), pair("2015-03-28T23:00:00Z", "2015-03-29T21:00:00Z"));
        assert_eq!(day("UTC", "9999-12-31"), pair("9999-12-31T00:00:00Z", "9999-12-31T23:00:00Z"));
        for (zone, none) in [("Pacific/Apia", "2011-12-30"), ("UTC", "1960-01-01"), ("UTC", "+10000-01-01")] {
            assert_eq!(day(zone, none), None, "{zone} {none}");
        }
    }

    #[test]
    fn the_ends_of_what_is_counted_are_ends_of_periods() {
        let (first, last) = (Hour::containing(Timestamp::MIN), Hour::containing(Timestamp::MAX));
        for zone in ["Europe/Berlin", "America/New_York"] {
            let calendar: Calendar = zone.parse().unwrap();
            assert_eq!(*calendar.periods(Step::Month, &(first..=first), 1).unwrap()[0].start(), first, "{zone}");
            assert_eq!(*calendar.periods(Step::Month, &(last..=last), 1).unwrap()[0].end(), last, "{zone}");
        }
    }

    proptest! {
        #[test]
        fn periods_follow_one_another_and_hold_the_whole_range(
            first in 0_i64..400_000,
            length in 0_i64..5_000,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"]),
            step in prop::sample::select(vec![Step::Hour, Step::Day, Step::Week, Step::Month]),
        ) {
            let first = Hour::containing(Timestamp::MIN).plus(200_000 + first);
            let range = first..=first.plus(length);
            let calendar: Calendar = zone.parse().unwrap();
            let periods = calendar.periods(step, &range, 10_000).unwrap();
            prop_assert!(periods[0].contains(range.start()) && periods[periods.len() - 1].contains(range.end()));
            for two in periods.windows(2) {
                prop_assert_eq!(two[0].end().next(), Some(*two[1].start()));
            }
        }
    }
}
