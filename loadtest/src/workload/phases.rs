//! Clicks and impressions take turns. While one kind is sent, no event of the other is on its way, so that every read
//! shows exactly whether all of those are counted. If both were sent at all times, events that are counted and not yet
//! answered would hide one that is answered and not yet counted.

use chrono::{DateTime, Utc};
use model::{EventKind, Timestamp};
use serde::{Deserialize, Serialize};

const MILLIS: u64 = 100;
/// So many milliseconds after the last event of a kind all of them should be answered.
const ANSWERED_WITHIN: u64 = 50;
/// 2^64 divided by the golden ratio. Its multiples are spread evenly, whichever of them are looked at, so requests that
/// come at a steady pace are of both kinds, as often as they should.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A tenth of a second by the clock, which generators on several machines have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Phase(u64);

impl Phase {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self(now.millis().unsigned_abs() / MILLIS)
    }

    /// The kind of all events that are sent in this phase.
    pub(crate) fn kind(self, click_share: f64) -> EventKind {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let place = self.0.wrapping_mul(GOLDEN) as f64 / u64::MAX as f64;
        if place < click_share { EventKind::Click } else { EventKind::Impression }
    }

    /// The first of the phases of the present second since which only the kind of this one is sent. None if events of the
    /// other may still be on their way.
    pub(crate) fn silent_since(now: Timestamp, click_share: f64) -> Option<Self> {
        let present = Self::at(now);
        let is_same = |phase: &u64| Self(*phase).kind(click_share) == present.kind(click_share);
        let second = present.0 - present.0 % (1_000 / MILLIS);
        let first = (second..=present.0).rev().take_while(is_same).last()?;
        let is_silent_longer = first == second && is_same(&first.saturating_sub(1));
        let since = now.millis().unsigned_abs() - first * MILLIS;
        (is_silent_longer || since >= ANSWERED_WITHIN).then_some(Self(first))
    }

    pub(crate) fn begins(self) -> DateTime<Utc> {
        let millis = i64::try_from(self.0.saturating_mul(MILLIS)).ok();
        millis.and_then(DateTime::from_timestamp_millis).unwrap_or_default()
    }

    pub(crate) fn is_multiple_of(self, number: u64) -> bool {
        self.0.is_multiple_of(number)
    }
}

#[cfg(test)]
mod tests {
    use model::{EventKind, Timestamp};

    use super::{MILLIS, Phase};

    const START: u64 = 1_800_000_000_000;

    /// Of requests that come so many milliseconds apart, and the most of one kind in succession.
    fn clicks(share: f64, apart: u64) -> (f64, usize) {
        let at = |number| Timestamp::from_millis(i64::try_from(START + number * apart).unwrap()).unwrap();
        let kinds: Vec<EventKind> = (0..10_000).map(|number| Phase::at(at(number)).kind(share)).collect();
        let clicks = u32::try_from(kinds.iter().filter(|&&kind| kind == EventKind::Click).count()).unwrap();
        let longest = kinds.chunk_by(|one, next| one == next).map(<[EventKind]>::len).max().unwrap();
        (f64::from(clicks) / 10_000.0, longest)
    }

    #[test]
    fn both_kinds_are_sent_as_often_as_asked_at_any_pace() {
        for share in [0.0, 0.1, 0.5, 0.9, 1.0] {
            for apart in [1, 100, 200, 500, 1_000, 12_345] {
                let (clicks, _) = clicks(share, apart);
                assert!((clicks - share).abs() < 0.01, "{clicks} of {share}, every {apart} ms");
            }
        }
    }

    #[test]
    fn a_kind_is_silent_from_when_its_last_events_should_be_answered_until_it_is_sent_again() {
        let shown = (0..1_200).step_by(50).map(|millis| {
            let now = Timestamp::from_millis(i64::try_from(START).unwrap() + millis).unwrap();
            let kind = if Phase::at(now).kind(0.5) == EventKind::Click { 'c' } else { 'i' };
            let since = Phase::silent_since(now, 0.5).map(|phase| phase.0 - START / MILLIS);
            since.map_or_else(|| format!("{kind}-"), |since| format!("{kind}{since}"))
        });
        insta::assert_snapshot!(shown.collect::<Vec<_>>().join(" "), @"c- c0 c0 c0 i- i2 c- c3 i- i4 i4 i4 c- c6 i- i7 c- c8 c8 c8 i- i10 c- c11");
        let always = Timestamp::from_millis(i64::try_from(START).unwrap()).unwrap();
        assert!(Phase::silent_since(always, 1.0).is_some(), "since the second before");
    }

    #[test]
    fn neither_kind_is_silent_for_long() {
        assert_eq!(clicks(0.5, MILLIS).1, 2);
        assert_eq!(clicks(0.1, MILLIS).1, 12);
    }
}
