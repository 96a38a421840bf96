//! The ways in which access logs write a time.

use chrono::DateTime;
use model::Timestamp;

use crate::record::Unreadable;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeFormat {
    /// `17/May/2015:10:05:03 +0000`.
    Common,
    /// RFC 3339, or ISO 8601 with a zone like `+0000`.
    Iso,
    /// Since 1970, perhaps with a fraction.
    Seconds,
    Millis,
    Micros,
    /// chrono's, which is strftime's.
    Own(String),
    /// Any of the first three, or a number of milliseconds that is too large for seconds.
    Any,
}

/// Later in seconds than the year 5000, and earlier in milliseconds than 1974.
const FEWEST_MILLIS: i64 = 100_000_000_000;

impl TimeFormat {
    /// How many spaces a time of this format has.
    pub(super) fn spaces(&self) -> usize {
        match self {
            Self::Common => 1,
            Self::Own(format) => format.matches(' ').count(),
            Self::Iso | Self::Seconds | Self::Millis | Self::Micros | Self::Any => 0,
        }
    }

    pub(super) fn read(&self, text: &[u8]) -> Result<Timestamp, Unreadable> {
        let millis = str::from_utf8(text).ok().and_then(|text| self.millis(text));
        let millis = millis.ok_or(Unreadable::LogLine(match self {
            Self::Common => "the time is not like [17/May/2015:10:05:03 +0000]",
            Self::Iso => "the time is not like 2015-05-17T10:05:03+00:00",
            Self::Seconds | Self::Millis | Self::Micros => "the time is not a number",
            Self::Own(_) => "the time is not as the pattern says",
            Self::Any => "the time is neither a date with its zone nor a number",
        }))?;
        Ok(Timestamp::from_millis(millis)?)
    }

    fn millis(&self, text: &str) -> Option<i64> {
        match self {
            Self::Common => DateTime::parse_from_str(text, "%d/%b/%Y:%H:%M:%S %z").ok().map(|at| at.timestamp_millis()),
            Self::Iso => DateTime::parse_from_rfc3339(text)
                .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
                .ok()
                .map(|at| at.timestamp_millis()),
            Self::Seconds => scaled(text, 3),
            Self::Millis => scaled(text, 0),
            Self::Micros => scaled(text, 0).map(|micros| micros.div_euclid(1_000)),
            Self::Own(format) => DateTime::parse_from_str(text, format).ok().map(|at| at.timestamp_millis()),
            Self::Any => {
                let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
                let as_number = scaled(text, 0).map(|number| match number {
                    FEWEST_MILLIS.. => Some(number),
                    _ => scaled(text, 3),
                });
                as_number.unwrap_or_else(|| Self::Iso.millis(text).or_else(|| Self::Common.millis(text)))
            }
        }
    }
}

/// A decimal number times ten to the power of `digits`, rounded down.
fn scaled(text: &str, digits: usize) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(digits).collect();
    format!("{whole}{fraction}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::TimeFormat::{self, Any, Common, Iso, Micros, Millis, Own, Seconds};

    #[test]
    fn a_time_is_read_to_the_millisecond_in_whichever_way_it_is_written() {
        let own = || Own("%Y-%m-%d %H:%M:%S %z".to_owned());
        for (format, text, millis) in [
            (Common, "17/May/2015:10:05:03 +0000", 1_431_857_103_000),
            (Common, "17/May/2015:12:05:03 +0200", 1_431_857_103_000),
            (Iso, "2015-05-17T10:05:03Z", 1_431_857_103_000),
            (Iso, "2015-05-17T12:05:03.25+02:00", 1_431_857_103_250),
            (Iso, "2015-05-17T12:05:03+0200", 1_431_857_103_000),
            (Seconds, "1431857103", 1_431_857_103_000),
            (Seconds, "1431857103.2509", 1_431_857_103_250),
            (Seconds, "1431857103.", 1_431_857_103_000),
            (Millis, "1431857103250", 1_431_857_103_250),
            (Micros, "1431857103250999", 1_431_857_103_250),
            (own(), "2015-05-17 12:05:03 +0200", 1_431_857_103_000),
            (Any, "1431857103.25", 1_431_857_103_250),
            (Any, "1431857103250", 1_431_857_103_250),
            (Any, "2015-05-17T10:05:03Z", 1_431_857_103_000),
            (Any, "17/May/2015:10:05:03 +0000", 1_431_857_103_000),
            (Any, "[17/May/2015:10:05:03 +0000]", 1_431_857_103_000),
        ] {
            assert_eq!(format.read(text.as_bytes()).unwrap().millis(), millis, "{format:?} {text}");
        }
    }

    #[test]
    fn what_is_no_time_or_has_no_zone_is_refused() {
        let refused = |format: TimeFormat, text: &str| assert!(format.read(text.as_bytes()).is_err(), "{text}");
        for text in ["", "-", "30/Feb/2016:23:59:59 +0000", "2015-05-17T10:05:03", "1431857103,5", "1e9", "-1", "."] {
            for format in [Common, Iso, Seconds, Millis, Micros, Any] {
                refused(format, text);
            }
        }
        refused(Seconds, "99999999999999999999");
    }
}
