use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

/// A rate limit: requests in a period at an even rate, and a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Requests in a period, from 1 to 1,000,000.
    pub(crate) requests: u32,
    /// The period: a second, a minute or an hour.
    pub(crate) period: Duration,
    /// Requests at once after a pause, from 1 to 1,000,000.
    pub(crate) burst: u32,
}

/// A text that is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this is not a rate; accepted is {accepted}", accepted = Rate::ACCEPTED)]
pub(crate) struct InvalidRate;

const MOST: u32 = 1_000_000;

impl Rate {
    /// The accepted form, for error messages and documentation.
    pub(crate) const ACCEPTED: &'static str = "requests in a second, minute or hour, optionally with a burst, like \
                                        100/s, 6000/min or 100/s:500, where each number is from 1 to 1000000";

    /// A rate for each second.
    pub(crate) const fn per_second(requests: u32, burst: u32) -> Self {
        Self { requests, period: Duration::from_secs(1), burst }
    }

    /// The time between two requests at an even rate, in nanoseconds.
    pub(super) fn interval(self) -> u64 {
        u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX) / u64::from(self.requests)
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidRate;
        let number = |text: &str| text.parse().ok().filter(|number| (1..=MOST).contains(number)).ok_or_else(invalid);
        let (rate, burst) = text.split_once(':').map_or((text, None), |(rate, burst)| (rate, Some(burst)));
        let (requests, unit) = rate.split_once('/').ok_or_else(invalid)?;
        let requests = number(requests)?;
        let period = Duration::from_secs(match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3_600,
            _ => return Err(invalid()),
        });
        Ok(Self { requests, period, burst: burst.map_or(Ok(requests), number)? })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period.as_secs() {
            1 => "s",
            60 => "min",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.requests)?;
        if self.burst == self.requests { Ok(()) } else { write!(f, ":{}", self.burst) }
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for text in ["100/s", "6000/min", "1/h", "100/s:500", "1000000/s:1"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("100/s".parse::<Rate>().unwrap().burst, 100);
        for text in
            ["", "100", "0/s", "100/d", "-1/s", "1000001/s", "100/s:", "100/s:0", "100 / s", "1.5/s", "/s", "None"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }
}
