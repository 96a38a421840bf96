use std::{
    collections::{HashMap, HashSet},
    ops::AddAssign,
};

use model::{EventKind, Hour, IdempotencyKey, wire};

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

impl Batch {
    /// Adds the event of a line of the file, under the file's key or the one that was made for the line. False, and
    /// nothing is added, if the batch must be sent first.
    pub(crate) fn push(
        &mut self,
        number: u64,
        line: &wire::SentEvent,
        of_line: Option<&IdempotencyKey>,
        max_events: usize,
    ) -> bool {
        let end = self.body.len();
        wire::write_sent(line, of_line, &mut self.body);
        let hour = line.hour();
        let given = line.key.clone().map(|key| (hour, key));
        // The server refuses a request that holds a key twice for one site, so the second event goes into another
        // request. Which site an event is for that names none, only the server knows.
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
        self.keyed += usize::from(line.key.is_some() || of_line.is_some());
        self.lines.push(number);
        self.hours.entry(hour).or_default().count(line.kind);
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
    use model::{
        Event, EventKind, IdempotencyKey, SiteName, Timestamp, UserName,
        wire::{self, SentEvent},
    };

    use super::Batch;

    fn event(hour: usize, user: &str) -> SentEvent {
        let event = Event {
            at: Timestamp::from_millis(i64::try_from(hour).unwrap() * 3_600_000).unwrap(),
            user: UserName::new(user).unwrap(),
            kind: EventKind::Click,
        };
        event.into()
    }

    fn fill(max_events: usize, mut event: impl FnMut(usize) -> SentEvent) -> Batch {
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
        let keyed = |hour| SentEvent { key: Some(IdempotencyKey::new("k").unwrap()), ..event(hour, "a") };
        let mut batch = Batch::default();
        assert!(batch.push(1, &keyed(0), None, 9));
        assert!(batch.push(2, &keyed(1), None, 9));
        assert!(!batch.push(3, &SentEvent { site: Some(SiteName::new("shop").unwrap()), ..keyed(0) }, None, 9));
        assert!(!batch.push(4, &keyed(0), None, 9));
        assert!(batch.is_keyed());
        assert!(batch.push(4, &event(0, "a"), None, 9));
        assert!(!batch.is_keyed());
    }
}
