use std::{fmt, str::FromStr};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::Timestamp;

const MILLIS_PER_HOUR: i64 = 3_600_000;

/// A UTC hour: the half-open span of 3,600,000 milliseconds that begins at [`Hour::start`].
///
/// In JSON it is its first instant as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, format = DateTime, example = "2015-05-17T10:00:00Z")]
pub struct Hour(i64);

impl Hour {
    /// An hour contains its first millisecond, not the next hour's first one.
    pub fn containing(at: Timestamp) -> Self {
        Self(at.millis().div_euclid(MILLIS_PER_HOUR))
    }

    /// None if no hour begins at this time, or if it is outside the range of [`Timestamp`].
    pub fn starting_at(at: DateTime<Utc>) -> Option<Self> {
        let start = Timestamp::from_millis(at.timestamp_millis()).ok()?;
        let hour = Self::containing(start);
        (hour.start().to_utc() == at).then_some(hour)
    }

    pub fn start(self) -> Timestamp {
        Timestamp::from_millis(self.0 * MILLIS_PER_HOUR)
            .expect("an Hour holds an instant of the accepted range, and 1970 begins on the hour")
    }

    /// This many hours later, or earlier if negative; outside the range, the first or the last hour.
    #[must_use]
    pub fn plus(self, hours: i64) -> Self {
        Self(self.0.saturating_add(hours).clamp(0, Self::containing(Timestamp::MAX).0))
    }

    /// None for the first hour of 1970.
    pub fn previous(self) -> Option<Self> {
        (self.0 > 0).then(|| Self(self.0 - 1))
    }

    /// None for the last hour of the year 9999.
    pub fn next(self) -> Option<Self> {
        (self < Self::containing(Timestamp::MAX)).then(|| Self(self.0 + 1))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not the beginning of a UTC hour between 1970 and 9999, as in 2015-05-17T10:00:00Z")]
pub struct NotAnHour(String);

impl FromStr for Hour {
    type Err = NotAnHour;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let start = DateTime::parse_from_rfc3339(text).ok();
        start.and_then(|start| Self::starting_at(start.to_utc())).ok_or_else(|| NotAnHour(text.to_owned()))
    }
}

impl TryFrom<String> for Hour {
    type Error = NotAnHour;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Hour> for String {
    fn from(hour: Hour) -> Self {
        hour.to_string()
    }
}

impl fmt::Display for Hour {
    /// The hour's first instant as RFC 3339, for example `2015-05-17T10:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start().to_utc().to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Hour, MILLIS_PER_HOUR};
    use crate::Timestamp;

    fn hour_of(millis: i64) -> String {
        Hour::containing(Timestamp::from_millis(millis).unwrap()).to_string()
    }

    #[test]
    fn the_last_millisecond_of_an_hour_is_floored_never_rounded() {
        assert_eq!(hour_of(0), "1970-01-01T00:00:00Z");
        assert_eq!(hour_of(3_599_999), "1970-01-01T00:00:00Z");
        assert_eq!(hour_of(3_600_000), "1970-01-01T01:00:00Z");
        assert_eq!(hour_of(1_431_860_399_999), "2015-05-17T10:00:00Z");
        assert_eq!(hour_of(1_431_860_400_000), "2015-05-17T11:00:00Z");
        assert_eq!(hour_of(Timestamp::MAX.millis()), "9999-12-31T23:00:00Z");
    }

    #[test]
    fn an_hour_is_written_in_json_as_its_first_instant_and_read_back() {
        let hour = Hour::containing(Timestamp::from_millis(1_431_860_399_999).unwrap());
        let json = serde_json::to_string(&hour).unwrap();
        assert_eq!(json, "\"2015-05-17T10:00:00Z\"");
        assert_eq!(serde_json::from_str::<Hour>(&json).unwrap(), hour);
        for text in ["2015-05-17T10:00:01Z", "2015-05-17", "1969-12-31T23:00:00Z", ""] {
            assert!(text.parse::<Hour>().is_err(), "{text:?}");
        }
        assert_eq!("2015-05-17T12:00:00+02:00".parse(), Ok(hour));
    }

    #[test]
    fn the_first_and_the_last_hour_have_no_neighbour_outside_the_range() {
        assert_eq!(Hour::containing(Timestamp::MIN).previous(), None);
        assert_eq!(Hour::containing(Timestamp::MAX).next(), None);
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_its_hour_and_in_no_other(millis in 0..=Timestamp::MAX.millis()) {
            let at = Timestamp::from_millis(millis).unwrap();
            let hour = Hour::containing(at);
            prop_assert!(hour.start() <= at);
            prop_assert!(at.millis() < hour.start().millis() + MILLIS_PER_HOUR);
            prop_assert_eq!(hour.start().millis() % MILLIS_PER_HOUR, 0);
            prop_assert_eq!(Hour::starting_at(hour.start().to_utc()), Some(hour));
        }

        #[test]
        fn instants_on_either_side_of_an_edge_lie_in_neighbouring_hours(edge in 1..=70_000_000_i64) {
            let first = Timestamp::from_millis(edge * MILLIS_PER_HOUR).unwrap();
            let before = Timestamp::from_millis(edge * MILLIS_PER_HOUR - 1).unwrap();
            prop_assert_eq!(Hour::containing(before).next(), Some(Hour::containing(first)));
            prop_assert_eq!(Hour::containing(first).previous(), Some(Hour::containing(before)));
        }

        #[test]
        fn no_instant_before_1970_is_accepted(millis in i64::MIN..0) {
            prop_assert_eq!(Timestamp::from_millis(millis).unwrap_err().fault, "is negative");
            prop_assert_eq!(Timestamp::parse(&millis.to_string()).unwrap_err().fault, "is negative");
        }
    }
}
