use std::collections::HashSet;

use model::{
    Hour, IdempotencyKey, Keyed, SiteHour, Submission,
    wire::{MAX_BATCH_EVENTS, MAX_BATCH_HOURS},
};

use super::LineEvent;

/// Collects the events of lines, as many as one batch may have.
#[derive(Default)]
pub(crate) struct Batch {
    submission: Submission,
    hours: HashSet<Hour>,
    keys: HashSet<(SiteHour, IdempotencyKey)>,
}

/// Why an event cannot be in a batch with those that are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    TooManyEvents,
    TooManyHours,
    /// An earlier event of the same hour and site has its key.
    SameKey,
}

impl Batch {
    /// Changes nothing if the event does not fit.
    pub(crate) fn add(&mut self, LineEvent { event, key }: LineEvent) -> Result<(), Unfit> {
        let Submission { events, keyed, .. } = &mut self.submission;
        let hour = event.event.hour();
        if key.as_ref().is_some_and(|key| self.keys.contains(&(event.site_hour(), key.clone()))) {
            return Err(Unfit::SameKey);
        }
        if events.len() >= MAX_BATCH_EVENTS {
            return Err(Unfit::TooManyEvents);
        }
        if self.hours.len() >= MAX_BATCH_HOURS && !self.hours.contains(&hour) {
            return Err(Unfit::TooManyHours);
        }
        if let Some(key) = key {
            self.keys.insert((event.site_hour(), key.clone()));
            keyed.push(Keyed { key, events: events.len()..events.len() + 1 });
        }
        self.hours.insert(hour);
        events.push(event);
        Ok(())
    }

    /// Whether an event has a key of its own.
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(crate) fn into_submission(self) -> Submission {
        self.submission
    }
}
