//! Values of flags, each with what is accepted.

use std::time::Duration;

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

pub(super) fn speed_up(text: &str) -> Result<f64, String> {
    number(text, "a number from 0.001 up", |factor| factor >= 0.001)
}

pub(super) fn run_time(text: &str) -> Result<Duration, String> {
    let accepted = || "accepted is a duration from 1s to 24h, such as 20s or 5min".to_owned();
    let duration = humantime::parse_duration(text).map_err(|_| accepted())?;
    let bounds = Duration::from_secs(1)..=Duration::from_hours(24);
    if bounds.contains(&duration) { Ok(duration) } else { Err(accepted()) }
}
