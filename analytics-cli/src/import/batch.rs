use std::collections::HashSet;

use model::{Event, EventKind, Hour, IdempotencyKey, wire};

/// Events of one file that are sent in one request: as many as the limits of a request allow.
#[derive(Default)]
pub(crate) struct Batch {
    body: Vec<u8>,
    lines: Vec<u64>,
    hours: HashSet<Hour>,
    keys: HashSet<(Hour, IdempotencyKey)>,
    clicks: u64,
}

impl Batch {
    /// Adds an event that stands on a line of the file, with its idempotency key if it has one. False, and nothing is added, if the
    /// batch has to be sent first.
    pub(crate) fn push(&mut self, line: u64, event: &Event, key: Option<&IdempotencyKey>, max_events: usize) -> bool {
        let end = self.body.len();
        wire::write_line(event, key, &mut self.body);
        let hour = event.hour();
        // What stands in a file twice under one key is left to two requests: within one it would be refused.
        let is_new = key.is_none_or(|key| !self.keys.contains(&(hour, key.clone())));
        let fits = is_new
            && self.lines.len() < max_events
            && self.body.len() <= wire::MAX_BATCH_BYTES
            && (self.hours.len() < wire::MAX_BATCH_HOURS || self.hours.contains(&hour));
        if !fits {
            self.body.truncate(end);
            return false;
        }
        self.keys.extend(key.map(|key| (hour, key.clone())));
        self.lines.push(line);
        self.hours.insert(hour);
        self.clicks += u64::from(event.kind == EventKind::Click);
        true
    }

    /// The events as newline-delimited JSON.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The line of the file that each event stands on, in order.
    pub(crate) fn lines(&self) -> &[u64] {
        &self.lines
    }

    /// How many events are clicks; the others are impressions.
    pub(crate) fn clicks(&self) -> u64 {
        self.clicks
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, IdempotencyKey, Timestamp, UserName, wire};

    use super::Batch;

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
        assert_eq!((batch.body(), batch.lines().len(), batch.clicks()), (body.as_slice(), 2, 2));
    }

    #[test]
    fn a_key_stands_in_a_batch_once_an_hour() {
        let key = IdempotencyKey::new("k").unwrap();
        let mut batch = Batch::default();
        assert!(batch.push(1, &event(0, "a"), Some(&key), 9));
        assert!(batch.push(2, &event(1, "a"), Some(&key), 9));
        assert!(!batch.push(3, &event(0, "a"), Some(&key), 9));
    }
}
