//! The hours that are read. They lie in the past, where the events that are sent meanwhile do not change them.

use anyhow::{Context, bail};
use db::{Ingested, SettleOutcome, Settler, Store, Writer};
use model::{Event, EventKind, Hour, HourCounts, Timestamp, UserName, wire::MAX_BATCH_EVENTS};

/// How many users an hour's events are spread over, in turn.
pub(crate) const USERS: u32 = 50_000;
/// One event in so many is a click.
pub(crate) const CLICK_EVERY: u32 = 10;

const MILLIS_PER_HOUR: i64 = 3_600_000;
/// 2020-01-01T00:00:00Z.
const FIRST_HOUR_MILLIS: i64 = 1_577_836_800_000;

/// An hour with so many events, evenly spread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilledHour {
    pub(crate) hour: Hour,
    pub(crate) events: u32,
}

impl FilledHour {
    fn new(hours_after_first: i64, events: u32) -> Self {
        let start = Timestamp::from_millis(FIRST_HOUR_MILLIS + hours_after_first * MILLIS_PER_HOUR);
        Self { hour: Hour::containing(start.expect("2020 is in the range of timestamps")), events }
    }

    /// Its event of that number, counted from 0.
    fn event(&self, number: u32) -> anyhow::Result<Event> {
        let offset = i64::from(number) * MILLIS_PER_HOUR / i64::from(self.events);
        Ok(Event {
            at: Timestamp::from_millis(self.hour.start().millis() + offset)?,
            user: UserName::new(format!("user{}", number % USERS))?,
            kind: if number.is_multiple_of(CLICK_EVERY) { EventKind::Click } else { EventKind::Impression },
        })
    }

    /// What it counts.
    pub(crate) fn counts(&self) -> HourCounts {
        let clicks = self.events.div_ceil(CLICK_EVERY);
        HourCounts {
            unique_users: self.events.min(USERS).into(),
            clicks: clicks.into(),
            impressions: (self.events - clicks).into(),
        }
    }
}

/// The hours that are read, some hours apart, so that none is read along with another.
pub(crate) struct Hours {
    /// Settled, and therefore the earliest: a real-time aggregate computes only what is later than what it has materialized.
    pub(crate) settled: FilledHour,
    /// Open, as the current hour is, with few events.
    pub(crate) small: FilledHour,
    /// Open, with many.
    pub(crate) large: FilledHour,
}

impl Default for Hours {
    fn default() -> Self {
        Self {
            settled: FilledHour::new(0, 1_000_000),
            small: FilledHour::new(6, 1_000),
            large: FilledHour::new(12, 1_000_000),
        }
    }
}

impl Hours {
    pub(crate) fn all(&self) -> [FilledHour; 3] {
        [self.settled, self.small, self.large]
    }
}

/// Stores and settles the hours through the same functions that the daemon calls.
pub(crate) async fn fill(store: &Store, hours: &Hours) -> anyhow::Result<()> {
    let mut writer = Writer::new(store.clone());
    for filled in hours.all() {
        for first in (0..filled.events).step_by(MAX_BATCH_EVENTS) {
            let last = filled.events.min(first.saturating_add(u32::try_from(MAX_BATCH_EVENTS)?));
            let events = (first..last).map(|number| filled.event(number)).collect::<Result<Vec<_>, _>>()?;
            match writer.ingest(&events).await? {
                Ingested::Stored => {}
                blocked => bail!("{} cannot be filled: {blocked:?}", filled.hour),
            }
        }
    }
    writer.retire().await?;

    let settler = Settler::elect(store).await?.context("another process settles the hours of this database")?;
    match settler.settle(hours.settled.hour).await? {
        SettleOutcome::Settled => Ok(()),
        other => bail!("{} is not settled: {other:?}", hours.settled.hour),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use model::EventKind;

    use super::FilledHour;

    #[test]
    fn an_hour_counts_the_events_that_it_is_filled_with() {
        for size in [1, 9, 10, 11, 1_000, 60_001] {
            let filled = FilledHour::new(3, size);
            let events: Vec<_> = (0..size).map(|number| filled.event(number).unwrap()).collect();
            let counts = filled.counts();
            assert!(events.iter().all(|event| event.hour() == filled.hour));
            assert_eq!(
                events.iter().map(|event| &event.user).collect::<HashSet<_>>().len() as u64,
                counts.unique_users
            );
            assert_eq!(events.iter().filter(|event| event.kind == EventKind::Click).count() as u64, counts.clicks);
            assert_eq!(u64::from(size), counts.clicks + counts.impressions);
        }
    }
}
