use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::AddAssign,
};

use client::Step;
use event_files::LeftOut;
use model::{EventKind, Hour, IdempotencyKey, TimeUnit, wire};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) clicks: u64,
    pub(crate) impressions: u64,
}

impl Kinds {
    pub(crate) fn events(self) -> u64 {
        self.clicks + self.impressions
    }

    pub(crate) fn count(&mut self, kind: EventKind) {
        match kind {
            EventKind::Click => self.clicks += 1,
            EventKind::Impression => self.impressions += 1,
        }
    }

    /// One fewer.
    fn forget(&mut self, kind: EventKind) {
        let count = match kind {
            EventKind::Click => &mut self.clicks,
            EventKind::Impression => &mut self.impressions,
        };
        *count = count.saturating_sub(1);
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
    /// Lines between the events that are no page views.
    left_out: BTreeMap<LeftOut, u64>,
    /// The part of the source that it is; none if the file is not sent as a source.
    step: Option<Step>,
}

impl Batch {
    /// Adds the event of a line of the file. False, and nothing is added, if the batch must be sent first.
    pub(crate) fn push(&mut self, number: u64, line: &wire::SentEvent, max_events: usize) -> bool {
        let end = self.body.len();
        wire::write_sent(line, &mut self.body);
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
        self.keyed += usize::from(line.key.is_some());
        self.lines.push(number);
        self.hours.entry(hour).or_default().count(line.kind);
        true
    }

    /// Notes a line that is no page view.
    pub(crate) fn leave_out(&mut self, reason: LeftOut) {
        *self.left_out.entry(reason).or_default() += 1;
    }

    /// Makes it the part of a source.
    pub(crate) fn of_source(self, step: Step) -> Self {
        Self { step: Some(step), ..self }
    }

    pub(crate) fn step(&self) -> Option<&Step> {
        self.step.as_ref()
    }

    pub(crate) fn left_out(&self) -> &BTreeMap<LeftOut, u64> {
        &self.left_out
    }

    /// Removes an event, counted from 1, and on demand all others of its hour; returns their lines.
    pub(crate) fn leave_out_refused(&mut self, place: u64, with_hour: bool) -> Vec<u64> {
        let Some(at) = usize::try_from(place).ok().and_then(|place| place.checked_sub(1)) else { return Vec::new() };
        let parsed = |body: &[u8]| wire::parse_line(body, TimeUnit::Millis).ok();
        let body = std::mem::take(&mut self.body);
        let bodies = || body.split_inclusive(|&byte| byte == b'\n');
        let Some(refused) = bodies().nth(at).and_then(parsed) else {
            self.body = body;
            return Vec::new();
        };
        let hour = refused.hour();
        let mut removed = Vec::new();
        let mut lines = std::mem::take(&mut self.lines);
        for (n, (line, body)) in lines.drain(..).zip(bodies()).enumerate() {
            let goes = n == at || (with_hour && parsed(body).is_some_and(|event| event.hour() == hour));
            if goes {
                removed.push(line);
            } else {
                self.lines.push(line);
                self.body.extend_from_slice(body);
            }
        }
        if with_hour {
            self.hours.remove(&hour);
        } else if let Some(kinds) = self.hours.get_mut(&hour) {
            kinds.forget(refused.kind);
        }
        removed
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

    /// Whether a second request with it stores nothing twice: it is a part of a source, or each event has a key.
    pub(crate) fn can_repeat(&self) -> bool {
        self.step.is_some() || self.keyed == self.lines.len()
    }

    /// How many events there are of each kind.
    pub(crate) fn kinds(&self) -> Kinds {
        self.hours.values().fold(Kinds::default(), |mut sum, &kinds| {
            sum += kinds;
            sum
        })
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
            if !batch.push(n as u64, &event(n), max_events) {
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
        assert!(!batch.push(9, &event(0, "b"), 2));
        assert_eq!((batch.body(), batch.lines().len()), (body.as_slice(), 2));
        assert_eq!(batch.hours().values().map(|kinds| kinds.events()).sum::<u64>(), 2);
    }

    #[test]
    fn a_batch_holds_a_key_once_an_hour() {
        let keyed = |hour| SentEvent { key: Some(IdempotencyKey::new("k").unwrap()), ..event(hour, "a") };
        let mut batch = Batch::default();
        assert!(batch.push(1, &keyed(0), 9));
        assert!(batch.push(2, &keyed(1), 9));
        assert!(!batch.push(3, &SentEvent { site: Some(SiteName::new("shop").unwrap()), ..keyed(0) }, 9));
        assert!(!batch.push(4, &keyed(0), 9));
        assert!(batch.can_repeat());
        assert!(batch.push(4, &event(0, "a"), 9));
        assert!(!batch.can_repeat());
    }
}
