//! What a run asks of the server, step by step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a product of a rate and a time may be off.
const ROUNDING: f64 = 1e-6;

/// A part of a run with a load of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    #[serde(rename = "lasts_seconds", with = "seconds")]
    pub(crate) lasts: Duration,
    pub(crate) load: Load,
    pub(crate) side: Side,
}

/// Which of two servers that are compared a step is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// The one that is tested.
    #[default]
    New,
    /// The one that it is compared with.
    Old,
}

/// The numbers at the beginning and the end of a step; between these they change evenly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Load {
    /// Users, each of whom makes the next request when the last one is answered.
    Users { from: u32, to: u32 },
    /// Requests a second, whatever the answers take.
    Rate { from: u32, to: u32 },
    /// Each request at its own time after the beginning, in ascending order.
    Times {
        #[serde(skip)]
        after: Vec<Duration>,
    },
}

impl Load {
    /// Adds the load of another generator. False if it is of another kind.
    pub(super) fn add(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Users { from, to }, Self::Users { from: other_from, to: other_to })
            | (Self::Rate { from, to }, Self::Rate { from: other_from, to: other_to }) => {
                *from = from.saturating_add(*other_from);
                *to = to.saturating_add(*other_to);
                true
            }
            (Self::Times { .. }, Self::Times { .. }) => true,
            _ => false,
        }
    }
}

impl Step {
    pub(crate) fn of_users(lasts: Duration, users: u32) -> Self {
        Self { lasts, load: Load::Users { from: users, to: users }, side: Side::New }
    }

    pub(crate) fn of_rate(lasts: Duration, rate: u32) -> Self {
        Self { lasts, load: Load::Rate { from: rate, to: rate }, side: Side::New }
    }

    /// Requests a second, if they do not change.
    pub(crate) fn rate(&self) -> Option<u32> {
        match self.load {
            Load::Rate { from, to } if from == to => Some(to),
            _ => None,
        }
    }

    /// How many users may make requests then. None if all may, when requests are due.
    pub(crate) fn users(&self, at: Duration) -> Option<u32> {
        let Load::Users { from, to } = self.load else { return None };
        let (from, to) = (f64::from(from), f64::from(to));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between the two")]
        let users = (from + (to - from) * self.share(at)).round() as u32;
        Some(users)
    }

    /// When the request of this number is due after the beginning. None if it is not, because users decide when they
    /// make requests or because there are fewer.
    pub(crate) fn due(&self, number: u64) -> Option<Duration> {
        let due = match &self.load {
            Load::Users { .. } => return None,
            Load::Times { after } => *after.get(usize::try_from(number).ok()?)?,
            Load::Rate { from, to } if from == to => {
                let nanos = u128::from(number) * 1_000_000_000 / u128::from((*from).max(1));
                Duration::from_nanos(u64::try_from(nanos).ok()?)
            }
            Load::Rate { from, to } => {
                // The inverse of `before`, in the form that loses no digits if the change is small.
                let change = (f64::from(*to) - f64::from(*from)) / self.lasts.as_secs_f64();
                let number = float(number);
                let root = (f64::from(*from).powi(2) + 2.0 * change * number).sqrt();
                let seconds = if number == 0.0 { 0.0 } else { 2.0 * number / (f64::from(*from) + root) };
                Duration::try_from_secs_f64(seconds).ok()?
            }
        };
        (due < self.lasts && self.load != (Load::Rate { from: 0, to: 0 })).then_some(due)
    }

    /// How many requests are due before this time after the beginning.
    pub(crate) fn due_before(&self, at: Duration) -> u64 {
        let at = at.min(self.lasts);
        match &self.load {
            Load::Users { .. } => 0,
            Load::Times { after } => after.partition_point(|time| *time < at) as u64,
            Load::Rate { from, to } => {
                let (from, to) = (f64::from(*from), f64::from(*to));
                let mean = from + (to - from) * self.share(at) / 2.0;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative")]
                let due = (mean * at.as_secs_f64() - ROUNDING).ceil() as u64;
                due
            }
        }
    }

    /// Whether requests are made by schedule and not by users.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.load, Load::Users { .. })
    }

    fn share(&self, at: Duration) -> f64 {
        if self.lasts.is_zero() { 1.0 } else { (at.as_secs_f64() / self.lasts.as_secs_f64()).min(1.0) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time needs fewer digits")]
fn float(number: u64) -> f64 {
    number as f64
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Load, Side, Step};

    fn step(seconds: u64, load: Load) -> Step {
        Step { lasts: Duration::from_secs(seconds), load, side: Side::New }
    }

    #[test]
    fn requests_of_a_rate_are_due_one_after_the_other() {
        let step = Step::of_rate(Duration::from_secs(1), 4);
        let due: Vec<_> = (0..5).map(|number| step.due(number).map(|due| due.as_millis())).collect();
        assert_eq!(due, [Some(0), Some(250), Some(500), Some(750), None]);
        assert_eq!(step.due_before(Duration::from_hours(1)), 4);
    }

    #[test]
    fn a_step_of_no_rate_has_no_request() {
        let step = step(1, Load::Rate { from: 0, to: 0 });
        assert_eq!((step.due(0), step.due_before(step.lasts)), (None, 0));
    }

    #[test]
    fn users_come_and_go_evenly() {
        let users = |from, to, seconds| {
            step(10, Load::Users { from, to }).users(Duration::from_secs(seconds)).expect("they are users")
        };
        assert_eq!([users(0, 20, 0), users(0, 20, 5), users(0, 20, 10), users(0, 20, 99)], [0, 10, 20, 20]);
        assert_eq!(users(20, 0, 5), 10);
        assert_eq!(step(0, Load::Users { from: 0, to: 7 }).users(Duration::ZERO), Some(7));
    }

    proptest! {
        #[test]
        fn a_rate_that_changes_makes_as_many_requests_as_its_mean_and_each_after_the_one_before(
            seconds in 1_u64..100, from in 0_u32..1_000, to in 0_u32..1_000, share in 0.0..1.0,
        ) {
            let step = step(seconds, Load::Rate { from, to });
            let due: Vec<Duration> = (0..).map_while(|number| step.due(number)).collect();
            let twice_the_mean = (u64::from(from) + u64::from(to)) * seconds;
            prop_assert!((2 * due.len() as u64).abs_diff(twice_the_mean) <= 2, "{} of {twice_the_mean}/2", due.len());
            prop_assert!(due.is_sorted());
            let at = step.lasts.mul_f64(share);
            let before = due.partition_point(|due| *due < at) as u64;
            prop_assert!(before.abs_diff(step.due_before(at)) <= 1);
        }
    }
}
