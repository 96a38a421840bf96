use std::{
    collections::{HashMap, HashSet},
    ops::AddAssign,
};

use model::{Event, EventKind, Hour, IdempotencyKey, wire};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) clicks: u64,
    pub(crate) impressions: u64,
}

impl Kinds {
    pub(crate) fn events(self) -> u64 {
        self.clicks + self.impressions
    }

    fn count(&mut self, kind: EventKind) {
        match kind {
            EventKind::Click => self.clicks += 1,
            EventKind::Impression => self.impressions += 1,
        }
    }
}

impl AddAssign for Kinds {
    fn add_assign(&mut self, other: Self) {
        self.clicks += other.clicks;
        self.impressions += other.impressions;
    }
}

/// Events of one file that are sent in one request.
#[derive(Default)]
pub(crate) struct Batch {
    body: Vec<u8>,
    lines: Vec<u64>,
    hours: HashMap<Hour, Kinds>,
    given_keys: HashSet<(Hour, IdempotencyKey)>,
    keyed: usize,
}

/// Where an event's idempotency key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// From the file, which may hold it several times.
    Given(IdempotencyKey),
    /// Made for the event's line, and unique.
    OfLine(IdempotencyKey),
}

impl Batch {
    /// Adds the event of a line. False, and nothing is added, if the batch must be sent first.
    pub(crate) fn push(&mut self, line: u64, event: &Event, key: Option<&Key>, max_events: usize) -> bool {
        let end = self.body.len();
        wire::write_line(event, key.map(|(Key::Given(key) | Key::OfLine(key))| key), &mut self.body);
        let hour = event.hour();
        let given = match key {
            Some(Key::Given(key)) => Some((hour, key.clone())),
            _ => None,
        };
        // The server refuses a request that holds a key twice, so the second event goes into another request.
        let is_new = given.as_ref().is_none_or(|given| !self.given_keys.contains(given));
        let fits = is_new
            && self.lines.len() < max_events
            && self.body.len() <= wire::MAX_BATCH_BYTES
            && (self.hours.len() < wire::MAX_BATCH_HOURS || self.hours.contains_key(&hour));
        if !fits {
            self.body.truncate(end);
            return false;
        }
        self.given_keys.extend(given);
        self.keyed += usize::from(key.is_some());
        self.lines.push(line);
        self.hours.entry(hour).or_default().count(event.kind);
        true
    }

    /// Newline-delimited JSON.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The line of each event, in order.
    pub(crate) fn lines(&self) -> &[u64] {
        &self.lines
    }

    pub(crate) fn hours(&self) -> &HashMap<Hour, Kinds> {
        &self.hours
    }

    /// Whether each event has a key, so that a second request stores nothing twice.
    pub(crate) fn is_keyed(&self) -> bool {
        self.keyed == self.lines.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, IdempotencyKey, Timestamp, UserName, wire};

    use super::{Batch, Key};

    fn event(hour: usize, user: &str) -> Event {
        Event {
            at: Timestamp::from_millis(i64::try_from(hour).unwrap() * 3_600_000).unwrap(),
            user: UserName::new(user).unwrap(),
            kind: EventKind::Click,
        }
    }

    fn fill(max_events: usize, mut event: impl FnMut(usize) -> Event) -> Batch {
        let mut batch = Batch::default();
        for n in 0.. {
            if !batch.push(n as u64, &event(n), None, max_events) {
                return batch;
            }
        }
        batch
    }

    #[test]
    fn a_batch_ends_at_the_first_limit_that_it_meets() {
        assert_eq!(fill(3, |_| event(0, "a")).lines(), [0, 1, 2]);
        assert_eq!(fill(wire::MAX_BATCH_EVENTS, |n| event(n, "a")).lines().len(), wire::MAX_BATCH_HOURS);
        assert_eq!(
            fill(wire::MAX_BATCH_EVENTS, |n| event(n % wire::MAX_BATCH_HOURS, "a")).lines().len(),
            wire::MAX_BATCH_EVENTS
        );
        let long = "\u{1}".repeat(UserName::MAX_BYTES);
        let batch = fill(wire::MAX_BATCH_EVENTS, |_| event(0, &long));
        assert!(batch.body().len() <= wire::MAX_BATCH_BYTES);
    }

    #[test]
    fn an_event_that_does_not_fit_leaves_the_batch_as_it_was() {
        let mut batch = fill(2, |_| event(0, "a"));
        let body = batch.body().to_vec();
        assert!(!batch.push(9, &event(0, "b"), None, 2));
        assert_eq!((batch.body(), batch.lines().len()), (body.as_slice(), 2));
        assert_eq!(batch.hours().values().map(|kinds| kinds.events()).sum::<u64>(), 2);
    }

    #[test]
    fn a_batch_holds_a_key_once_an_hour() {
        let key = Key::Given(IdempotencyKey::new("k").unwrap());
        let mut batch = Batch::default();
        assert!(batch.push(1, &event(0, "a"), Some(&key), 9));
        assert!(batch.push(2, &event(1, "a"), Some(&key), 9));
        assert!(!batch.push(3, &event(0, "a"), Some(&key), 9));
        assert!(batch.is_keyed());
        assert!(batch.push(3, &event(0, "a"), None, 9));
        assert!(!batch.is_keyed());
    }
}
