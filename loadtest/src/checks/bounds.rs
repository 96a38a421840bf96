//! The least and the most that an hour may count, from what was sent for it.

use std::fmt;

use model::{EventKind, HourCounts};
use serde::{Deserialize, Serialize};

/// Whether the hours counted this run's visitors before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Strangers {
    /// They counted none of them.
    All,
    /// They may have counted any of them.
    Perhaps,
}

/// What is known of others who write to the same hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) strangers: Strangers,
    /// Whether other clients write too, of which nothing is known.
    pub(crate) shared: bool,
    /// Whether other runs write at the same time, whose reports are merged with that of this one.
    pub(crate) part: bool,
}

/// What a run sent for an hour of a site.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// What the hour counted before the run.
    pub(crate) before: HourCounts,
    pub(crate) acknowledged: Events,
    /// Those of an acknowledged event.
    pub(crate) acknowledged_visitors: u64,
    /// Events whose fate is not known.
    pub(crate) open: Events,
    /// Those of an acknowledged or open event.
    pub(crate) visitors: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Events {
    pub(crate) clicks: u64,
    pub(crate) impressions: u64,
}

/// The least and the most that the counts of an hour may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    pub(crate) least: HourCounts,
    /// None if other clients write too.
    pub(crate) most: Option<HourCounts>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) what: &'static str,
    pub(crate) counted: u64,
    pub(crate) least: u64,
    pub(crate) most: Option<u64>,
}

impl Sent {
    /// The greatest of its numbers.
    pub(crate) fn most(&self) -> u64 {
        let Self { before, acknowledged, acknowledged_visitors, open, visitors } = self;
        let counts = [before.unique_users, before.clicks, before.impressions];
        let sent = [acknowledged.clicks, acknowledged.impressions, open.clicks, open.impressions];
        counts.into_iter().chain(sent).chain([*acknowledged_visitors, *visitors]).max().unwrap_or_default()
    }

    /// There is no upper bound where others write.
    pub(crate) fn bounds(&self, rules: Rules) -> Bounds {
        let Self { before, acknowledged, acknowledged_visitors, open, visitors } = self;
        let least_users = match rules.strangers {
            Strangers::All => before.unique_users + acknowledged_visitors,
            Strangers::Perhaps => before.unique_users.max(*acknowledged_visitors),
        };
        let least = HourCounts {
            unique_users: least_users,
            clicks: before.clicks + acknowledged.clicks,
            impressions: before.impressions + acknowledged.impressions,
        };
        let most = HourCounts {
            unique_users: before.unique_users + visitors,
            clicks: least.clicks + open.clicks,
            impressions: least.impressions + open.impressions,
        };
        Bounds { least, most: (!rules.shared && !rules.part).then_some(most) }
    }

    /// Adds what another run sent for the same hour at the same time. Each run asked for the counts before it sent its
    /// first event, and a count never falls: so the lower of the two is the one before both.
    pub(crate) fn add(&mut self, other: &Self, rules: Rules) {
        let before = &mut self.before;
        before.unique_users = before.unique_users.min(other.before.unique_users);
        before.clicks = before.clicks.min(other.before.clicks);
        before.impressions = before.impressions.min(other.before.impressions);
        self.acknowledged.add(other.acknowledged);
        self.acknowledged_visitors = match rules.strangers {
            Strangers::All => self.acknowledged_visitors + other.acknowledged_visitors,
            // Both may have sent the same ones.
            Strangers::Perhaps => self.acknowledged_visitors.max(other.acknowledged_visitors),
        };
        self.open.add(other.open);
        self.visitors += other.visitors;
    }
}

impl Bounds {
    pub(crate) fn faults(&self, counts: HourCounts) -> Vec<Fault> {
        let of = |counts: HourCounts| [counts.unique_users, counts.clicks, counts.impressions];
        let most = self.most.map(of);
        let checks = ["unique users", "clicks", "impressions"].into_iter().zip(of(counts)).zip(of(self.least));
        checks
            .enumerate()
            .map(|(place, ((what, counted), least))| Fault { what, counted, least, most: most.map(|most| most[place]) })
            .filter(|fault| fault.counted < fault.least || fault.most.is_some_and(|most| fault.counted > most))
            .collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, counted, least, most } = self;
        write!(f, "{counted} {what}, ")?;
        match most {
            _ if counted < least => write!(f, "at least {least} were acknowledged: {} missing", least - counted),
            Some(most) => write!(f, "at most {most} were sent: {} too many", counted.saturating_sub(*most)),
            None => write!(f, "which is right"),
        }
    }
}

impl Events {
    pub(crate) fn count_mut(&mut self, kind: EventKind) -> &mut u64 {
        match kind {
            EventKind::Click => &mut self.clicks,
            EventKind::Impression => &mut self.impressions,
        }
    }

    pub(crate) fn count(self, kind: EventKind) -> u64 {
        match kind {
            EventKind::Click => self.clicks,
            EventKind::Impression => self.impressions,
        }
    }

    pub(crate) fn sum(self) -> u64 {
        self.clicks + self.impressions
    }

    fn add(&mut self, other: Self) {
        self.clicks += other.clicks;
        self.impressions += other.impressions;
    }
}

#[cfg(test)]
mod tests {
    use model::HourCounts;

    use super::{Events, Rules, Sent, Strangers};

    fn counts(unique_users: u64, clicks: u64, impressions: u64) -> HourCounts {
        HourCounts { unique_users, clicks, impressions }
    }

    #[test]
    fn runs_at_the_same_time_count_together_from_what_was_before_the_first() {
        let first = Sent {
            before: counts(10, 5, 50),
            acknowledged: Events { clicks: 1, impressions: 2 },
            acknowledged_visitors: 2,
            open: Events { clicks: 0, impressions: 1 },
            visitors: 3,
        };
        // It asked when the first had sent a click already.
        let second = Sent { before: counts(11, 6, 50), open: Events::default(), visitors: 2, ..first };
        for (mut one, other) in [(first, &second), (second, &first)] {
            let rules = Rules { strangers: Strangers::All, shared: false, part: false };
            one.add(other, rules);
            let bounds = one.bounds(rules);
            assert_eq!((bounds.least, bounds.most), (counts(14, 7, 54), Some(counts(15, 7, 55))));
        }
    }

    #[test]
    fn replays_at_the_same_time_may_have_the_same_visitors() {
        let rules = Rules { strangers: Strangers::Perhaps, shared: false, part: false };
        let sent = Sent { acknowledged_visitors: 3, visitors: 3, ..Sent::default() };
        let mut both = sent;
        both.add(&sent, rules);
        let bounds = both.bounds(rules);
        assert_eq!((bounds.least.unique_users, bounds.most.unwrap().unique_users), (3, 6));
    }
}
