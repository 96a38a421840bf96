//! What the parts of a run saw of events of which none was on its way, so that those of all parts together can be
//! compared with what was counted while they ran. Each part alone knows only its own events.
//!
//! A while after the last event of a kind was sent, all of them should be answered. Each part keeps how many of its own
//! were acknowledged by then, and the lowest count that it read from then on until that kind is sent again. Whichever part looked last read
//! its count when all of these were acknowledged. So the highest of the counts must be at least their sum, whatever the
//! clocks of the machines say. It is exactly their sum, so that one missing event shows, if the clocks differ so little
//! that all are answered before the first of these reads.

use std::{collections::BTreeMap, fmt};

use chrono::SecondsFormat;
use model::{EventKind, Hour};
use serde::{Deserialize, Serialize};

use super::bounds::Fault;
use crate::workload::phases::Phase;

/// The most of a run. Of more, every second phase is forgotten, which are the same for all parts.
const MOST: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct When {
    pub(crate) phase: Phase,
    /// The kind that is not sent.
    pub(crate) kind: EventKind,
    /// None for the one without a name.
    pub(crate) site: Option<String>,
    pub(crate) hour: Hour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Sighting {
    acknowledged: u64,
    counted: u64,
    /// How many runs have seen it.
    parts: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub(crate) struct Sightings {
    seen: BTreeMap<When, Sighting>,
    /// Of so many phases one is kept.
    every: u64,
}

impl Default for Sightings {
    fn default() -> Self {
        Self { seen: BTreeMap::new(), every: 1 }
    }
}

/// As report.json has it.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    when: When,
    #[serde(flatten)]
    seen: Sighting,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(site) = &self.site {
            write!(f, "{site} ")?;
        }
        write!(f, "{} at {}", self.hour, self.phase.begins().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl From<Vec<Entry>> for Sightings {
    fn from(entries: Vec<Entry>) -> Self {
        let seen = entries.into_iter().map(|Entry { when, seen }| (when, seen)).collect();
        Self { seen, ..Self::default() }
    }
}

impl From<Sightings> for Vec<Entry> {
    fn from(sightings: Sightings) -> Self {
        sightings.seen.into_iter().map(|(when, seen)| Entry { when, seen }).collect()
    }
}

impl Sightings {
    /// `acknowledged` are the events of this run before it read the count.
    pub(crate) fn add(&mut self, when: When, acknowledged: u64, counted: u64) {
        if !when.phase.is_multiple_of(self.every) {
            return;
        }
        let seen = self.seen.entry(when).or_insert(Sighting { acknowledged, counted, parts: 1 });
        seen.acknowledged = seen.acknowledged.min(acknowledged);
        seen.counted = seen.counted.min(counted);
        while self.seen.len() > MOST {
            self.every *= 2;
            self.seen.retain(|when, _| when.phase.is_multiple_of(self.every));
        }
    }

    /// Adds those of another part.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (when, other) in &other.seen {
            self.seen
                .entry(when.clone())
                .and_modify(|seen| {
                    seen.acknowledged += other.acknowledged;
                    seen.counted = seen.counted.max(other.counted);
                    seen.parts += other.parts;
                })
                .or_insert(*other);
        }
    }

    /// Those of all parts, of which there are so many, and what was missing. `before` are those of that kind that the
    /// hour counted before the first.
    pub(crate) fn judge(
        &self,
        parts: usize,
        before: impl Fn(&When) -> u64,
    ) -> impl Iterator<Item = (&When, Option<Fault>)> {
        let of_all = self.seen.iter().filter(move |(_, seen)| seen.parts == parts);
        of_all.map(move |(when, seen)| {
            let (least, counted) = (before(when) + seen.acknowledged, seen.counted);
            let what = match when.kind {
                EventKind::Click => "clicks",
                EventKind::Impression => "impressions",
            };
            (when, (counted < least).then_some(Fault { what, counted, least, most: None }))
        })
    }

    /// The greatest of its numbers.
    pub(crate) fn most(&self) -> u64 {
        self.seen
            .values()
            .map(|seen| seen.acknowledged.max(seen.counted).max(seen.parts as u64))
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use model::{EventKind, Hour, Timestamp};
    use proptest::{collection::vec, prelude::*};

    use super::{MOST, Sightings, When};
    use crate::workload::phases::Phase;

    fn when(millis: i64) -> When {
        let at = Timestamp::from_millis(millis).unwrap();
        When { phase: Phase::at(at), kind: EventKind::Click, site: None, hour: Hour::containing(at) }
    }

    /// A part that had acknowledged so many, and read so many after that.
    fn part(acknowledged: u64, counted: u64) -> Sightings {
        let mut part = Sightings::default();
        part.add(when(0), acknowledged, counted);
        part
    }

    fn missing(parts: &[Sightings]) -> Vec<Option<u64>> {
        let mut merged = parts[0].clone();
        parts[1..].iter().for_each(|part| merged.merge(part));
        merged.judge(parts.len(), |_| 7).map(|(_, fault)| fault.map(|fault| fault.least - fault.counted)).collect()
    }

    #[test]
    fn what_all_parts_had_acknowledged_must_have_been_counted_when_the_last_one_read() {
        assert_eq!(missing(&[part(10, 37), part(20, 37)]), [None]);
        assert_eq!(missing(&[part(10, 36), part(20, 36)]), [Some(1)]);
        // One had read before the other, whose clock is late, had sent its last.
        assert_eq!(missing(&[part(10, 30), part(20, 37)]), [None]);
    }

    proptest! {
        /// Events and reads of each of some parts, whose clocks differ by up to the length of a phase. An event is counted at a moment before it is acknowledged; a read counts what is there at a moment within it.
        #[test]
        fn of_an_honest_count_nothing_is_missing_whatever_the_clocks_of_the_parts_say(
            parts in vec((0..90_i64, vec((0..200_i64, 0..20_i64), 0..20), vec((0..200_i64, 0..50_i64), 1..9)), 2..4)
        ) {
            let counted_by = |moment| {
                let moments = parts.iter().flat_map(|(_, events, _)| events).map(|(counted, _)| *counted);
                moments.filter(|counted| *counted <= moment).count() as u64
            };
            let mut merged = Sightings::default();
            for (clock, events, reads) in &parts {
                let mut part = Sightings::default();
                for &(begun, after) in reads {
                    let is_acknowledged = |(counted, then): &&(i64, i64)| counted + then <= begun;
                    let acknowledged = events.iter().filter(is_acknowledged).count() as u64;
                    part.add(when(clock + begun), acknowledged, counted_by(begun + after));
                }
                merged.merge(&part);
            }
            for (when, fault) in merged.judge(parts.len(), |_| 0) {
                prop_assert_eq!(fault, None, "{:?}", when);
            }
        }
    }

    #[test]
    fn what_not_all_parts_have_seen_says_nothing() {
        let mut other = Sightings::default();
        other.add(when(100), 20, 20);
        assert_eq!(missing(&[part(10, 0), other]), []);
    }

    #[test]
    fn of_several_reads_of_a_phase_the_lowest_says_what_was_missing_after_the_first() {
        let mut part = part(10, 17);
        part.add(when(99), 10, 16);
        part.add(when(99), 11, 18);
        assert_eq!(missing(&[part]), [Some(1)]);
    }

    #[test]
    fn parts_that_saw_more_than_they_keep_keep_the_same_phases() {
        let of = |phases: std::ops::Range<i64>| {
            let mut part = Sightings::default();
            phases.for_each(|phase| part.add(when(phase * 100), 1, 9));
            part
        };
        let most = i64::try_from(MOST).unwrap();
        let both = [of(0..3 * most), of(most..4 * most)];
        assert!(both.iter().all(|part| part.seen.len() <= MOST));
        assert_eq!(missing(&both).len(), MOST / 2);
    }

    #[test]
    fn a_report_keeps_them() {
        let kept: Sightings = serde_json::from_value(serde_json::to_value(part(10, 36)).unwrap()).unwrap();
        assert_eq!(kept.seen, part(10, 36).seen);
    }
}
