use std::{fmt, str::FromStr};

use chrono::DateTime;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use crate::{InvalidInput, Timestamp};

/// How the timestamps of a file or a batch are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeUnit {
    /// Milliseconds since 1970, or RFC 3339. A number that looks like seconds is refused, since it would be counted in
    /// January 1970.
    #[default]
    Auto,
    Millis,
    /// Since 1970, perhaps with a fraction.
    Seconds,
    Rfc3339,
}

/// A timestamp as a file or a batch writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum WrittenTime {
    Integer(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    Text(String),
}

impl TimeUnit {
    pub const PARAMETER: &'static str = "timestamps";
    pub const ACCEPTED: &'static str = "ms, s, rfc3339 or auto";
    pub const NAMES: [&'static str; 4] = ["auto", "ms", "s", "rfc3339"];

    /// # Errors
    /// Not of this unit, or not from 1970 to 9999.
    pub fn read(self, written: &WrittenTime) -> Result<Timestamp, InvalidInput> {
        match written {
            WrittenTime::Integer(number) => self.integer(*number),
            #[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
            WrittenTime::Float(number) => match self {
                Self::Auto if Self::is_like_seconds(*number) => Err(self.invalid(Self::LIKE_SECONDS.to_owned())),
                Self::Seconds if number.abs() < 1e12 => Timestamp::from_millis((number * 1_000.0).floor() as i64),
                _ if number.fract() == 0.0 && number.abs() < 1e15 => self.integer(*number as i64),
                _ => Err(self.invalid("is not an integer".to_owned())),
            },
            WrittenTime::Text(text) => self.read_text(text),
        }
    }

    /// Decimal digits, or RFC 3339 rounded down to the millisecond.
    pub fn read_text(self, text: &str) -> Result<Timestamp, InvalidInput> {
        let text = text.trim_ascii();
        if self != Self::Seconds
            && self != Self::Millis
            && let Ok(at) = DateTime::parse_from_rfc3339(text)
        {
            return Timestamp::from_millis(at.timestamp_millis());
        }
        match text.split_once('.') {
            _ if self == Self::Rfc3339 => Err(self.invalid("is not RFC 3339".to_owned())),
            Some((whole, fraction)) if self == Self::Seconds && fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
                let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
                self.digits(whole).and_then(|seconds| self.integer_with(seconds, millis.parse().unwrap_or_default()))
            }
            Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') => {
                self.digits(whole).and_then(|it| self.integer(it))
            }
            _ if self == Self::Auto && text.parse().is_ok_and(Self::is_like_seconds) => {
                Err(self.invalid(Self::LIKE_SECONDS.to_owned()))
            }
            _ => self.digits(text).and_then(|it| self.integer(it)),
        }
    }

    fn digits(self, text: &str) -> Result<i64, InvalidInput> {
        match Timestamp::parse(text) {
            Ok(number) => Ok(number.millis()),
            Err(invalid) => Err(self.invalid(invalid.fault)),
        }
    }

    fn integer(self, number: i64) -> Result<Timestamp, InvalidInput> {
        self.integer_with(number, 0)
    }

    fn integer_with(self, number: i64, more_millis: i64) -> Result<Timestamp, InvalidInput> {
        match self {
            Self::Rfc3339 => Err(self.invalid("is a number".to_owned())),
            Self::Seconds => Timestamp::from_millis(number.saturating_mul(1_000).saturating_add(more_millis))
                .map_err(|invalid| self.invalid(invalid.fault)),
            Self::Millis => Timestamp::from_millis(number),
            Self::Auto => match Timestamp::from_millis(number)? {
                at if at.looks_like_seconds() => Err(self.invalid(Self::LIKE_SECONDS.to_owned())),
                at => Ok(at),
            },
        }
    }

    const LIKE_SECONDS: &'static str = "looks like seconds, and would be in January 1970 as milliseconds";

    fn is_like_seconds(number: f64) -> bool {
        (1e9..1e11).contains(&number)
    }

    /// Whether a timestamp was refused because its unit is not certain.
    pub fn is_uncertain(invalid: &InvalidInput) -> bool {
        invalid.parameter == Timestamp::PARAMETER && invalid.fault == Self::LIKE_SECONDS
    }

    fn invalid(self, fault: String) -> InvalidInput {
        let accepted = match self {
            Self::Auto => {
                "milliseconds since 1970-01-01T00:00:00Z, or RFC 3339; with timestamps=s seconds, with timestamps=ms any number of milliseconds"
            }
            Self::Millis => Timestamp::ACCEPTED,
            Self::Seconds => "seconds since 1970-01-01T00:00:00Z, to the end of the year 9999",
            Self::Rfc3339 => "RFC 3339 as in 2015-05-17T10:05:03Z",
        };
        InvalidInput { parameter: Timestamp::PARAMETER, fault, accepted }
    }
}

impl FromStr for TimeUnit {
    type Err = InvalidInput;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "ms" => Ok(Self::Millis),
            "s" => Ok(Self::Seconds),
            "rfc3339" => Ok(Self::Rfc3339),
            _ => Err(InvalidInput {
                parameter: Self::PARAMETER,
                fault: "is unknown".to_owned(),
                accepted: Self::ACCEPTED,
            }),
        }
    }
}

impl<'de> Deserialize<'de> for WrittenTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyTime;

        impl Visitor<'_> for AnyTime {
            type Value = WrittenTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a text with RFC 3339")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<WrittenTime, E> {
                Ok(WrittenTime::Integer(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<WrittenTime, E> {
                Ok(WrittenTime::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<WrittenTime, E> {
                Ok(WrittenTime::Float(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WrittenTime, E> {
                Ok(WrittenTime::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(AnyTime)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        TimeUnit::{self, Auto, Millis, Rfc3339, Seconds},
        Timestamp, WrittenTime,
    };

    fn read(unit: TimeUnit, json: &str) -> Result<i64, String> {
        let written: WrittenTime = serde_json::from_str(json).unwrap();
        unit.read(&written).map(Timestamp::millis).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn a_timestamp_is_read_as_its_unit_says_and_never_guessed() {
        for (unit, json, millis) in [
            (Auto, "1706796001000", 1_706_796_001_000),
            (Auto, "\"1706796001000\"", 1_706_796_001_000),
            (Auto, "1706796001000.0", 1_706_796_001_000),
            (Auto, "\"1706796001000.0\"", 1_706_796_001_000),
            (Auto, "1.706796001e12", 1_706_796_001_000),
            (Auto, "\"2024-02-01T14:00:01Z\"", 1_706_796_001_000),
            (Auto, "\"2024-02-01T15:00:01.2509+01:00\"", 1_706_796_001_250),
            (Auto, "1", 1),
            (Millis, "1706796001", 1_706_796_001),
            (Millis, "\"1706796001\"", 1_706_796_001),
            (Seconds, "1706796001", 1_706_796_001_000),
            (Seconds, "1706796001.25", 1_706_796_001_250),
            (Seconds, "\"1706796001.2509\"", 1_706_796_001_250),
            (Seconds, "\"1706796001\"", 1_706_796_001_000),
            (Rfc3339, "\"2024-02-01T14:00:01Z\"", 1_706_796_001_000),
        ] {
            assert_eq!(read(unit, json), Ok(millis), "{unit:?} {json}");
        }
    }

    #[test]
    fn what_the_unit_does_not_allow_is_refused_with_what_it_does() {
        for (unit, json, fault) in [
            (Auto, "1706796001", "looks like seconds"),
            (Auto, "\"1706796001\"", "looks like seconds"),
            (Auto, "1706796001.25", "looks like seconds"),
            (Auto, "\"1706796001.25\"", "looks like seconds"),
            (Auto, "1706796001000.5", "is not an integer"),
            (Auto, "\"1706796001000.5\"", "is not an integer"),
            (Auto, "\"\"", "is not an integer"),
            (Auto, "\"tomorrow\"", "is not an integer"),
            (Auto, "-1", "is negative"),
            (Auto, "1e300", "is not an integer"),
            (Auto, "18446744073709551615", "later than the year 9999"),
            (Millis, "\"2024-02-01T14:00:01Z\"", "is not an integer"),
            (Seconds, "\"2024-02-01T14:00:01Z\"", "is not an integer"),
            (Seconds, "1706796001000", "later than the year 9999"),
            (Rfc3339, "1706796001000", "is a number"),
            (Rfc3339, "\"1706796001000\"", "is not RFC 3339"),
        ] {
            let error = read(unit, json).unwrap_err();
            assert!(error.contains(fault), "{unit:?} {json} gave {error}");
        }
    }

    #[test]
    fn every_name_is_a_unit() {
        assert!(TimeUnit::NAMES.iter().all(|name| name.parse::<TimeUnit>().is_ok()));
        assert!("us".parse::<TimeUnit>().is_err());
    }
}
