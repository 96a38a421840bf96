//! The answers that clients got, event by event, and whether they agree with what is stored.

use std::{collections::BTreeMap, fmt};

use model::{EventKind, SiteEvent, SiteHour, UserName};

use crate::operation::{Action, Operation, Outcome};

/// The counts cannot tell apart two events with the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) hour: SiteHour,
    pub(crate) kind: EventKind,
    pub(crate) user: UserName,
}

/// The number of events of each key.
pub(crate) type Multiset = BTreeMap<Key, u64>;

/// The number of events with each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Answered 204.
    pub(crate) acknowledged: u64,
    /// Answered 202.
    pub(crate) queued: u64,
    /// Answered with an error.
    pub(crate) refused: u64,
    /// Not answered.
    pub(crate) unknown: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<Key, Tally>,
    totals: Tally,
    unsent: u64,
}

impl Ledger {
    pub(crate) fn of<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Self {
        let mut ledger = Self::default();
        for operation in operations {
            if let Action::Send { events, outcome } = &operation.action {
                for of_site in events {
                    let (hour, SiteEvent { event, .. }) = (of_site.site_hour(), of_site);
                    let key = Key { hour, kind: event.kind, user: event.user.clone() };
                    ledger.enter(key, *outcome);
                }
            }
        }
        ledger
    }

    fn enter(&mut self, key: Key, outcome: Outcome) {
        let count = |tally: &mut Tally| match outcome {
            Outcome::Acknowledged => tally.acknowledged += 1,
            Outcome::Queued => tally.queued += 1,
            Outcome::Refused => tally.refused += 1,
            Outcome::Unknown => tally.unknown += 1,
            Outcome::Unsent => {}
        };
        if outcome == Outcome::Unsent {
            self.unsent += 1;
        } else {
            count(self.entries.entry(key).or_default());
            count(&mut self.totals);
        }
    }

    pub(crate) fn totals(&self) -> Tally {
        self.totals
    }

    /// The number of events that were not sent, because no connection could be opened.
    pub(crate) fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Compares with what is stored in the end: acknowledged and queued ⊆ stored ⊆ acknowledged, queued and unknown.
    pub(crate) fn verdict(&self, stored: &Multiset) -> Verdict {
        let mut verdict = Verdict::default();
        for (key, tally) in &self.entries {
            let stored = stored.get(key).copied().unwrap_or_default();
            let promised = tally.acknowledged + tally.queued;
            if stored < promised {
                verdict.missing.push((key.clone(), promised - stored));
            }
            let possible = promised + tally.unknown;
            if stored > possible {
                verdict.extra.push((key.clone(), stored - possible));
            }
        }
        let strangers = stored.iter().filter(|(key, _)| !self.entries.contains_key(key));
        verdict.extra.extend(strangers.map(|(key, &count)| (key.clone(), count)));
        verdict
    }
}

/// Where the stored events contradict the answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Acknowledged but not stored.
    pub(crate) missing: Vec<(Key, u64)>,
    /// Stored, but refused or never sent.
    pub(crate) extra: Vec<(Key, u64)>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.missing.iter().map(|(_, count)| count).sum()
    }

    pub(crate) fn phantoms(&self) -> u64 {
        self.extra.iter().map(|(_, count)| count).sum()
    }
}

/// The most lines of each kind.
const SHOWN: usize = 20;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, entries) in [("acknowledged but not stored", &self.missing), ("stored but refused", &self.extra)] {
            for (Key { hour, kind, user }, count) in entries.iter().take(SHOWN) {
                writeln!(f, "{what}: {count} × {hour} {kind} {user}")?;
            }
            if entries.len() > SHOWN {
                writeln!(f, "{what}: and {} more of hour, kind and user", entries.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::{EventKind, Hour, SiteHour, Timestamp, UserName};

    use super::{Key, Ledger, Multiset};
    use crate::operation::Outcome::{self, Acknowledged, Queued, Refused, Unknown, Unsent};

    fn key(user: &str) -> Key {
        Key {
            hour: SiteHour::nameless(Hour::containing(Timestamp::MIN)),
            kind: EventKind::Click,
            user: UserName::new(user).unwrap(),
        }
    }

    /// The lost events and the phantoms of one user.
    fn judge(outcomes: &[Outcome], stored: u64) -> (u64, u64) {
        let mut ledger = Ledger::default();
        for &outcome in outcomes {
            ledger.enter(key("anna"), outcome);
        }
        let stored: Multiset = [(key("anna"), stored)].into_iter().filter(|(_, count)| *count > 0).collect();
        let verdict = ledger.verdict(&stored);
        (verdict.lost(), verdict.phantoms())
    }

    #[test]
    fn what_was_acknowledged_or_queued_must_be_stored_and_what_is_unknown_may_be() {
        let table: [(&[Outcome], u64, (u64, u64)); 10] = [
            (&[Acknowledged, Acknowledged], 2, (0, 0)),
            (&[Acknowledged, Acknowledged], 1, (1, 0)),
            (&[Acknowledged], 2, (0, 1)),
            (&[Queued], 1, (0, 0)),
            (&[Queued], 0, (1, 0)),
            (&[Unknown], 0, (0, 0)),
            (&[Acknowledged, Unknown], 2, (0, 0)),
            (&[Acknowledged, Unknown], 3, (0, 1)),
            (&[Refused], 1, (0, 1)),
            (&[Unsent], 1, (0, 1)),
        ];
        for (outcomes, stored, expected) in table {
            assert_eq!(judge(outcomes, stored), expected, "{outcomes:?} with {stored} stored");
        }
    }

    #[test]
    fn an_event_that_was_never_sent_is_named() {
        let verdict = Ledger::default().verdict(&[(key("nobody"), 3)].into());
        assert!(!verdict.is_clean());
        assert_eq!(verdict.to_string(), "stored but refused: 3 × 1970-01-01T00:00:00Z click nobody\n");
    }
}
