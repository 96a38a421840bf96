//! Fills hours with events before they are measured. All but the current one are years in the past, where nothing
//! else changes them.

use anyhow::{Context, bail};
use db::{Ingested, SettleOutcome, Settler, Store, Writer};
use model::{
    Event, EventKind, Hour, HourCounts, SiteEvent, SiteId, Timestamp, UserName,
    wire::{MAX_BATCH_EVENTS, write_line},
};

use crate::{servers::Server, wrk::PastHours};

/// The number of users in most loads.
pub(crate) const USERS: u32 = 10_000;
/// One event in this many is a click.
pub(crate) const CLICK_EVERY: u32 = 10;

const MILLIS_PER_HOUR: i64 = 3_600_000;
/// 2020-01-01T00:00:00Z.
const FIRST_HOUR_MILLIS: i64 = 1_577_836_800_000;

/// The settled hours come first, because a real-time aggregate computes only hours after the materialized ones.
pub(crate) fn large_settled_hour() -> FilledHour {
    FilledHour { hour: past_hour(0), events: 1_000_000, users: USERS }
}

/// The past hours of the mix: settled, of 1,000 events each, and as many as `loadtest` has.
pub(crate) fn settled_hours() -> PastHours {
    PastHours { first: past_hour(1), count: 72 }
}

/// The hour that begins this many hours after 2020 began.
pub(crate) fn past_hour(number: u32) -> Hour {
    let start = Timestamp::from_millis(FIRST_HOUR_MILLIS + i64::from(number) * MILLIS_PER_HOUR);
    Hour::containing(start.expect("a u32 of hours after 2020 lies before the year 9999 for every hour in use"))
}

/// The events are evenly spread, and the users take turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilledHour {
    pub(crate) hour: Hour,
    pub(crate) events: u32,
    pub(crate) users: u32,
}

impl FilledHour {
    /// Counted from 0.
    fn event(&self, number: u32) -> anyhow::Result<Event> {
        let offset = i64::from(number) * MILLIS_PER_HOUR / i64::from(self.events);
        Ok(Event {
            at: Timestamp::from_millis(self.hour.start().millis() + offset)?,
            user: UserName::new(format!("user{}", number % self.users))?,
            kind: if number.is_multiple_of(CLICK_EVERY) { EventKind::Click } else { EventKind::Impression },
        })
    }

    /// If the hour was empty before.
    pub(crate) fn counts(&self) -> HourCounts {
        let clicks = self.events.div_ceil(CLICK_EVERY);
        HourCounts {
            unique_users: self.events.min(self.users).into(),
            clicks: clicks.into(),
            impressions: (self.events - clicks).into(),
        }
    }
}

/// Stores events through the same functions that the daemon calls.
pub(crate) async fn fill(store: &Store, hours: &[FilledHour]) -> anyhow::Result<()> {
    let mut writer = Writer::new(store.clone());
    for filled in hours {
        for first in (0..filled.events).step_by(MAX_BATCH_EVENTS) {
            let last = filled.events.min(first.saturating_add(u32::try_from(MAX_BATCH_EVENTS)?));
            let events = (first..last)
                .map(|number| filled.event(number).map(SiteEvent::nameless))
                .collect::<Result<Vec<_>, _>>()?;
            match writer.ingest(&events).await? {
                Ingested::Stored => {}
                blocked => bail!("{} cannot be filled: {blocked:?}", filled.hour),
            }
        }
    }
    writer.retire().await?;
    Ok(())
}

/// Stores the same events through a daemon. That of an earlier commit may have another schema than this program knows.
pub(crate) async fn send(daemon: &Server, hours: &[FilledHour]) -> anyhow::Result<()> {
    for filled in hours {
        for first in (0..filled.events).step_by(MAX_BATCH_EVENTS) {
            let last = filled.events.min(first.saturating_add(u32::try_from(MAX_BATCH_EVENTS)?));
            let mut lines = Vec::new();
            for number in first..last {
                write_line(&filled.event(number)?, None, None, &mut lines);
            }
            daemon.store(lines).await?;
        }
    }
    Ok(())
}

/// While no daemon runs.
pub(crate) async fn settle(store: &Store, hours: impl IntoIterator<Item = Hour>) -> anyhow::Result<()> {
    let settler = Settler::elect(store).await?.context("another process settles the hours of this database")?;
    for hour in hours {
        match settler.settle(hour, &[SiteId::NAMELESS]).await?[..] {
            [(_, SettleOutcome::Settled)] => {}
            ref other => bail!("{hour} is not settled: {other:?}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use model::EventKind;

    use super::{FilledHour, past_hour};

    #[test]
    fn an_hour_counts_the_events_that_it_is_filled_with() {
        for (events, users) in [(1, 5), (9, 5), (10, 10), (11, 20), (1_000, 10), (60_001, 50_000)] {
            let filled = FilledHour { hour: past_hour(3), events, users };
            let all: Vec<_> = (0..events).map(|number| filled.event(number).unwrap()).collect();
            let counts = filled.counts();
            assert!(all.iter().all(|event| event.hour() == filled.hour));
            assert_eq!(all.iter().map(|event| &event.user).collect::<HashSet<_>>().len() as u64, counts.unique_users);
            assert_eq!(all.iter().filter(|event| event.kind == EventKind::Click).count() as u64, counts.clicks);
            assert_eq!(u64::from(events), counts.clicks + counts.impressions);
        }
    }

    #[test]
    fn hours_are_counted_from_2020() {
        assert_eq!(past_hour(0).to_string(), "2020-01-01T00:00:00Z");
        assert_eq!(past_hour(25).to_string(), "2020-01-02T01:00:00Z");
    }
}
