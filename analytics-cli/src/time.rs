use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat};
use model::{Calendar, Hour, InvalidInput, Step, Timestamp};
use thiserror::Error;

use crate::{failure::Failure, output};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimeArgument {
    Now,
    /// As in `-2h`.
    Ago(Duration),
    /// RFC 3339.
    Date(Timestamp),
    Millis(Timestamp),
    /// As in `2015-05-17T10`.
    Hour(NaiveDateTime),
    /// As in `2015-05-17`.
    Day(NaiveDate),
    /// As in `2015-05`; its first day.
    Month(NaiveDate),
    /// So many days before today.
    DaysAgo(u64),
}

/// What times are read by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) now: Timestamp,
    /// Whose days and hours are meant.
    pub(crate) calendar: Calendar,
}

impl Clock {
    pub(crate) fn of(calendar: Calendar) -> Self {
        Self { now: Timestamp::now(), calendar }
    }

    pub(crate) fn utc() -> Self {
        Self::of(Calendar::UTC)
    }
}

#[derive(Debug, Error)]
#[error(
    "{fault}; accepted is RFC 3339 as in 2015-05-17T10:05:03Z, a month, day or hour as in 2015-05, 2015-05-17 or 2015-05-17T10, today, \
     yesterday, now, a time before now as in -2h, -90s or -1d, or milliseconds since 1970"
)]
pub(crate) struct InvalidTime {
    fault: String,
}

#[derive(Debug, Error)]
#[error("{0}; accepted is a number with a unit, or several, as in 24h, 7d or 1h 30m")]
pub(crate) struct InvalidSpan(humantime::DurationError);

pub(crate) fn parse_span(text: &str) -> Result<Duration, InvalidSpan> {
    humantime::parse_duration(text).map_err(InvalidSpan)
}

impl FromStr for TimeArgument {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |fault: String| InvalidTime { fault };
        match text {
            "now" => return Ok(Self::Now),
            "today" => return Ok(Self::DaysAgo(0)),
            "yesterday" => return Ok(Self::DaysAgo(1)),
            _ => {}
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            Timestamp::parse(text).map(Self::Millis).map_err(|e| invalid(e.to_string()))
        } else if let Some(age) = text.strip_prefix('-') {
            humantime::parse_duration(age).map(Self::Ago).map_err(|e| invalid(e.to_string()))
        } else if let Ok(day) = text.parse::<NaiveDate>() {
            in_range(day.and_time(NaiveTime::MIN)).map(|()| Self::Day(day)).map_err(|e| invalid(e.to_string()))
        } else if let Ok(month) = format!("{text}-01").parse::<NaiveDate>() {
            in_range(month.and_time(NaiveTime::MIN)).map(|()| Self::Month(month)).map_err(|e| invalid(e.to_string()))
        } else if let Ok(hour) = NaiveDateTime::parse_from_str(&format!("{text}:00"), "%Y-%m-%dT%H:%M") {
            in_range(hour).map(|()| Self::Hour(hour)).map_err(|e| invalid(e.to_string()))
        } else {
            let date = DateTime::parse_from_rfc3339(text).map_err(|_| invalid("this is not a time".to_owned()))?;
            Timestamp::from_millis(date.timestamp_millis()).map(Self::Date).map_err(|e| invalid(e.to_string()))
        }
    }
}

impl TimeArgument {
    /// Warns if the number was probably meant as seconds. `flag` is the flag that the time was given with.
    pub(crate) fn resolve(&self, flag: &str, clock: Clock) -> Result<Timestamp, Failure> {
        if let Self::Millis(at) = self
            && let Some(suspicion) = seconds_suspicion(*at)
        {
            output::warn(&format!("{flag} {suspicion}"));
        }
        self.instant(clock).map_err(|invalid| Failure::CannotRun(format!("{flag}: {invalid}")))
    }

    /// The same where the time is the last of a range: of a day or month its last hour.
    pub(crate) fn resolve_last(&self, flag: &str, clock: Clock) -> Result<Timestamp, Failure> {
        let first = self.resolve(flag, clock)?;
        let Some(step) = self.whole() else { return Ok(first) };
        let whole = clock.calendar.period(step, Hour::containing(first));
        whole.map(|whole| whole.end().start()).map_err(|invalid| Failure::CannotRun(format!("{flag}: {invalid}")))
    }

    /// The step that it is as a whole, if it is a day or a month.
    pub(crate) fn whole(&self) -> Option<Step> {
        match self {
            Self::Day(_) | Self::DaysAgo(_) => Some(Step::Day),
            Self::Month(_) => Some(Step::Month),
            _ => None,
        }
    }

    fn instant(&self, Clock { now, calendar }: Clock) -> Result<Timestamp, InvalidInput> {
        let begin = |local| Ok(calendar.hour_at(local)?.map_or(Timestamp::MIN, Hour::start));
        match self {
            Self::Hour(hour) => begin(*hour),
            Self::Day(day) | Self::Month(day) => begin(day.and_time(NaiveTime::MIN)),
            Self::DaysAgo(days) => {
                let day = calendar.date(now).checked_sub_days(Days::new(*days)).unwrap_or(NaiveDate::MIN);
                begin(day.and_time(NaiveTime::MIN))
            }
            Self::Now => Ok(now),
            Self::Ago(age) => {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                Timestamp::from_millis(now.millis().saturating_sub(age))
            }
            Self::Date(at) | Self::Millis(at) => Ok(*at),
        }
    }
}

/// Whether events are counted of that time.
fn in_range(local: NaiveDateTime) -> Result<(), InvalidInput> {
    Timestamp::from_millis(local.and_utc().timestamp_millis()).map(drop)
}

/// A warning about a number of milliseconds that is more likely a number of seconds.
pub(crate) fn seconds_suspicion(at: Timestamp) -> Option<String> {
    let number = at.millis();
    if !at.looks_like_seconds() {
        return None;
    }
    let date = |at: Timestamp| at.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let meant = Timestamp::from_millis(number * 1000).ok()?;
    Some(format!(
        "{number} was read as milliseconds, which is {}; if you meant seconds, which is {}, give {} milliseconds",
        date(at),
        date(meant),
        meant.millis()
    ))
}

#[cfg(test)]
mod tests {
    use model::{Calendar, Timestamp};

    use super::{Clock, TimeArgument, seconds_suspicion};

    /// 10:05:03 UTC, 12:05:03 in Berlin, on May 17, 2015.
    fn clock(zone: &str) -> Clock {
        Clock { now: at(1_431_857_103_000), calendar: zone.parse::<Calendar>().unwrap() }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn every_way_to_write_a_time_is_understood() {
        let table = [
            ("now", 1_431_857_103_000),
            ("-0s", 1_431_857_103_000),
            ("-90s", 1_431_857_013_000),
            ("-2h", 1_431_849_903_000),
            ("-1h 30m", 1_431_851_703_000),
            ("-1d", 1_431_770_703_000),
            ("1431857103000", 1_431_857_103_000),
            ("0", 0),
            ("2015-05-17T10:05:03Z", 1_431_857_103_000),
            ("2015-05-17T12:05:03.25+02:00", 1_431_857_103_250),
            ("1970-01-01T00:00:00Z", 0),
            ("2015-05-17", 1_431_820_800_000),
            ("2015-05", 1_430_438_400_000),
            ("2015-05-17T10", 1_431_856_800_000),
            ("today", 1_431_820_800_000),
            ("yesterday", 1_431_734_400_000),
        ];
        for (text, millis) in table {
            let time: TimeArgument = text.parse().unwrap();
            assert_eq!(time.instant(clock("UTC")), Ok(at(millis)), "{text:?}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_what_is_accepted() {
        let table = [
            ("", "this is not a time"),
            ("tomorrow", "this is not a time"),
            ("2015-05-32", "this is not a time"),
            ("2015-13", "this is not a time"),
            ("2015-05-17T24", "this is not a time"),
            ("1969-12-31", "is negative"),
            ("2015-05-17T25:00:00Z", "this is not a time"),
            ("-5", "time unit needed"),
            ("-", "empty"),
            ("-2 fortnights", "unknown time unit"),
            ("1969-12-31T23:59:59.999Z", "is negative"),
            ("253402300800000", "later than the year 9999"),
            ("1e9", "this is not a time"),
        ];
        for (text, fault) in table {
            let error = text.parse::<TimeArgument>().unwrap_err().to_string();
            assert!(error.contains(fault), "{text:?} gave {error:?}");
            assert!(error.contains("accepted is RFC 3339"), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn a_day_or_month_that_ends_a_range_is_in_it_as_a_whole() {
        for (text, zone, millis) in [
            ("2015-05-16", "UTC", 1_431_817_200_000),
            ("2015-04", "UTC", 1_430_434_800_000),
            ("yesterday", "UTC", 1_431_817_200_000),
            ("2015-05-17T10", "UTC", 1_431_856_800_000),
            ("now", "UTC", 1_431_857_103_000),
            ("yesterday", "Europe/Berlin", 1_431_810_000_000),
        ] {
            let time: TimeArgument = text.parse().unwrap();
            assert_eq!(time.resolve_last("--to", clock(zone)).unwrap(), at(millis), "{text:?}");
        }
    }

    #[test]
    fn days_and_hours_are_those_of_the_time_zone() {
        for (text, utc) in [
            ("2015-05-17", "2015-05-16T22:00:00Z"),
            ("today", "2015-05-16T22:00:00Z"),
            ("2015-05-17T10", "2015-05-17T08:00:00Z"),
            ("2015-03-29T02", "2015-03-29T01:00:00Z"),
            ("2015-05-17T10:00:00Z", "2015-05-17T10:00:00Z"),
        ] {
            let time: TimeArgument = text.parse().unwrap();
            let at = time.instant(clock("Europe/Berlin")).unwrap();
            assert_eq!(at, Timestamp::parse_either(utc).unwrap(), "{text}");
        }
        let refused = "today".parse::<TimeArgument>().unwrap().instant(clock("Asia/Kolkata")).unwrap_err();
        assert!(refused.to_string().contains("+05:30"), "{refused}");
    }

    #[test]
    fn a_time_before_1970_is_refused_when_it_is_resolved() {
        let ago: TimeArgument = "-1000years".parse().unwrap();
        assert_eq!(ago.instant(clock("UTC")).unwrap_err().fault, "is negative");
    }

    #[test]
    fn only_numbers_that_are_probably_seconds_are_warned_of() {
        for (millis, suspicious) in [
            (0, false),
            (999_999_999, false),
            (1_000_000_000, true),
            (99_999_999_999, true),
            (100_000_000_000, false),
            (1_431_857_103_000, false),
        ] {
            assert_eq!(seconds_suspicion(at(millis)).is_some(), suspicious, "{millis}");
        }
        assert_eq!(
            seconds_suspicion(at(1_431_857_103)).unwrap(),
            "1431857103 was read as milliseconds, which is 1970-01-17T13:44:17.103Z; \
             if you meant seconds, which is 2015-05-17T10:05:03Z, give 1431857103000 milliseconds"
        );
    }
}
