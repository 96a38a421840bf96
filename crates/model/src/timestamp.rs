use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use crate::InvalidInput;

/// An instant in whole milliseconds since 1970-01-01T00:00:00Z, from 1970 to the end of the year 9999.
///
/// The upper limit is the last millisecond that RFC 3339 can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const PARAMETER: &'static str = "timestamp";
    pub const ACCEPTED: &'static str = "milliseconds since 1970-01-01T00:00:00Z as a decimal integer from 0 to 253402300799999 (the end of the year 9999)";
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Since 1970-01-01T00:00:00Z.
    pub fn from_millis(millis: i64) -> Result<Self, InvalidInput> {
        if millis < Self::MIN.0 {
            Err(Self::invalid("is negative"))
        } else if millis > Self::MAX.0 {
            Err(Self::invalid("is later than the year 9999"))
        } else {
            Ok(Self(millis))
        }
    }

    /// Decimal digits.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Self::invalid("is not an integer"));
        }
        match text.parse() {
            Ok(millis) => Self::from_millis(millis),
            Err(_) if text.starts_with('-') => Err(Self::invalid("is negative")),
            Err(_) => Err(Self::invalid("is later than the year 9999")),
        }
    }

    /// Decimal digits, or RFC 3339 rounded down to the millisecond.
    pub fn parse_either(text: &str) -> Result<Self, InvalidInput> {
        match DateTime::parse_from_rfc3339(text) {
            Ok(at) => Self::from_millis(at.timestamp_millis()),
            Err(_) if text.bytes().any(|b| !b.is_ascii_digit() && b != b'-') => {
                Err(Self::invalid("is neither a time as RFC 3339 nor an integer"))
            }
            Err(_) => Self::parse(text),
        }
    }

    /// This machine's clock, clamped to the accepted range.
    pub fn now() -> Self {
        Self(Utc::now().timestamp_millis().clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Since 1970-01-01T00:00:00Z.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Whether its number is more likely one of seconds: one of 2001 and later, which is a time from January 1970 to
    /// 1973 in milliseconds.
    pub fn looks_like_seconds(self) -> bool {
        (1_000_000_000..100_000_000_000).contains(&self.0)
    }

    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).expect("the range of a Timestamp lies within chrono's")
    }

    fn invalid(fault: &str) -> InvalidInput {
        InvalidInput { parameter: Self::PARAMETER, fault: fault.to_owned(), accepted: Self::ACCEPTED }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(at: Timestamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(at.0.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn the_ends_of_the_range_are_accepted_and_what_lies_beyond_is_named() {
        let table: [(&str, Result<i64, &str>); 14] = [
            ("0", Ok(0)),
            ("1431857103000", Ok(1_431_857_103_000)),
            ("0000000000001", Ok(1)),
            ("253402300799999", Ok(253_402_300_799_999)),
            ("253402300800000", Err("is later than the year 9999")),
            ("9223372036854775808", Err("is later than the year 9999")),
            ("-1", Err("is negative")),
            ("-9223372036854775809", Err("is negative")),
            ("", Err("is not an integer")),
            ("-", Err("is not an integer")),
            ("+1", Err("is not an integer")),
            ("1.5", Err("is not an integer")),
            ("1e3", Err("is not an integer")),
            ("١", Err("is not an integer")),
        ];
        for (text, expected) in table {
            let seen = Timestamp::parse(text);
            match expected {
                Ok(millis) => assert_eq!(seen.map(Timestamp::millis), Ok(millis), "{text:?}"),
                Err(fault) => assert_eq!(seen.unwrap_err().fault, fault, "{text:?}"),
            }
        }
    }

    #[test]
    fn the_last_accepted_millisecond_is_the_last_of_the_year_9999() {
        assert_eq!(Timestamp::MAX.to_utc().to_rfc3339(), "9999-12-31T23:59:59.999+00:00");
    }
}
