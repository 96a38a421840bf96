//! Values of flags, each with what is accepted.

use std::{ops::RangeInclusive, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn number(text: &str, accepted: &'static str, is_accepted: impl Fn(f64) -> bool) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && is_accepted(*number));
    number.ok_or_else(|| format!("accepted is {accepted}"))
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to 1", |share| (0.0..=1.0).contains(&share))
}

pub(super) fn half_life(text: &str) -> Result<f64, String> {
    number(text, "a number of hours from 0.01 up", |hours| hours >= 0.01)
}

pub(super) fn skew(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to 10", |skew| (0.0..=10.0).contains(&skew))
}

pub(super) fn weight(text: &str) -> Result<f64, String> {
    number(text, "a number from 0.001 to 1000", |weight| (0.001..=1_000.0).contains(&weight))
}

pub(super) fn speed_up(text: &str) -> Result<f64, String> {
    number(text, "a number from 0.001 up", |factor| factor >= 0.001)
}

pub(super) fn run_time(text: &str) -> Result<Duration, String> {
    duration(text, SECOND..=Duration::from_hours(24), "a duration from 1s to 24h, such as 20s or 5min")
}

pub(super) fn step_time(text: &str) -> Result<Duration, String> {
    duration(text, SECOND..=Duration::from_mins(10), "a duration from 1s to 10min, such as 5s or 1min")
}

pub(super) fn round_time(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_millis(50)..=Duration::from_mins(1), "a duration from 50ms to 1min, such as 500ms")
}

fn duration(text: &str, bounds: RangeInclusive<Duration>, accepted: &'static str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok();
    let accepted_one = duration.filter(|duration| bounds.contains(duration));
    accepted_one.ok_or_else(|| format!("accepted is {accepted}"))
}
