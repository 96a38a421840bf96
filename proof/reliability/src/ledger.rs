//! What all clients were told, event by event, and whether what is stored agrees with it. Pure data.

use std::{collections::BTreeMap, fmt};

use model::{EventKind, Hour, UserName};

use crate::operation::{Action, Operation, Outcome};

/// What makes two events the same for the ledger: the counts cannot tell such two apart either.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The hour that counts the event.
    pub hour: Hour,
    /// Click or impression.
    pub kind: EventKind,
    /// Who.
    pub user: UserName,
}

/// How many events there are of each key.
pub type Multiset = BTreeMap<Key, u64>;

/// How many events came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered 204.
    pub acknowledged: u64,
    /// Answered 202.
    pub queued: u64,
    /// Answered with an error.
    pub refused: u64,
    /// Not answered.
    pub unknown: u64,
}

/// What all clients were told, event by event.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<Key, Tally>,
    totals: Tally,
    unsent: u64,
}

impl Ledger {
    /// The ledger of these operations.
    pub fn of<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Self {
        let mut ledger = Self::default();
        for operation in operations {
            if let Action::Send { events, outcome } = &operation.action {
                for event in events {
                    let key = Key { hour: event.hour(), kind: event.kind, user: event.user.clone() };
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

    /// The sums over all keys.
    pub fn totals(&self) -> Tally {
        self.totals
    }

    /// How many events were never sent, because no connection could be opened.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Compares with what is stored now that everything has come to rest: acknowledged and queued ⊆ stored ⊆ acknowledged,
    /// queued and unknown.
    pub fn verdict(&self, stored: &Multiset) -> Verdict {
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

/// Where what is stored contradicts what was answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged and not stored.
    pub missing: Vec<(Key, u64)>,
    /// Stored, though refused or never sent.
    pub extra: Vec<(Key, u64)>,
}

impl Verdict {
    /// Whether nothing contradicts.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    /// How many acknowledged events are not stored.
    pub fn lost(&self) -> u64 {
        self.missing.iter().map(|(_, count)| count).sum()
    }

    /// How many events are stored that must not be.
    pub fn phantoms(&self) -> u64 {
        self.extra.iter().map(|(_, count)| count).sum()
    }
}

/// The most lines of each kind in a report for people.
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
    use model::{EventKind, Hour, Timestamp, UserName};

    use super::{Key, Ledger, Multiset};
    use crate::operation::Outcome::{self, Acknowledged, Queued, Refused, Unknown, Unsent};

    fn key(user: &str) -> Key {
        Key { hour: Hour::containing(Timestamp::MIN), kind: EventKind::Click, user: UserName::new(user).unwrap() }
    }

    /// The lost and the phantoms, after one user's events came to these ends and so many are stored.
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
    fn an_event_that_nobody_sent_is_named() {
        let verdict = Ledger::default().verdict(&[(key("nobody"), 3)].into());
        assert!(!verdict.is_clean());
        assert_eq!(verdict.to_string(), "stored but refused: 3 × 1970-01-01T00:00:00Z click nobody\n");
    }
}
