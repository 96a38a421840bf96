//! Collects events in batches, and sums the text that they are from.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use client::Step;
use model::{SourceName, SourcePosition, wire::SentEvent};
use sha2::{Digest, Sha256};

use super::{batch::Batch, standing::check};

/// Text is summed at once in pieces of this size, which is cheaper than line by line.
const PIECE: usize = 64 * 1024;

/// The batch that is being collected.
#[derive(Default)]
struct Collected {
    batch: Batch,
    /// When its first event came.
    since: Option<Instant>,
    /// None: the input is not a source.
    place: Option<Place>,
}

/// A place in a source: behind the events that were collected.
pub(crate) struct Place {
    source: SourceName,
    /// Where the last batch ended.
    from: SourcePosition,
    position: u64,
    /// Where batches must end, ascending: parts that some shards of the counter have already end there.
    parts_end_at: VecDeque<u64>,
    sum: Sha256,
    /// What is to be summed.
    text: Vec<u8>,
}

impl Place {
    /// Where the source stands. What is before it has yet to be summed.
    pub(crate) fn new(source: SourceName, from: SourcePosition, parts_end_at: Vec<u64>) -> Self {
        let parts_end_at = parts_end_at.into_iter().filter(|&end| end > from.position).collect();
        Self { source, position: from.position, from, parts_end_at, sum: Sha256::new(), text: Vec::new() }
    }

    /// How many bytes there are up to where the batch must end; none if it need not.
    fn left(&self) -> Option<u64> {
        self.parts_end_at.front().map(|end| end - self.position)
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn add(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.position += text.len() as u64;
        while self.parts_end_at.front().is_some_and(|&end| end <= self.position) {
            self.parts_end_at.pop_front();
        }
        if self.text.len() >= PIECE {
            self.sum();
        }
    }

    fn sum(&mut self) {
        self.sum.update(&self.text);
        self.text.clear();
    }

    /// The step from the last batch to here; none if there is nothing between.
    fn step(&mut self) -> Option<Step> {
        if self.position == self.from.position {
            return None;
        }
        self.sum();
        let to = SourcePosition { position: self.position, check: check(&self.sum) };
        let from = std::mem::replace(&mut self.from, to.clone());
        Some(Step { source: self.source.clone(), from, to })
    }
}

/// The batch that a thread collects. Whoever sends it may take it before it is full.
#[derive(Clone, Default)]
pub(crate) struct Collecting(Arc<Mutex<Collected>>);

impl Collecting {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the input a source.
    pub(crate) fn begin_at(&self, place: Place) {
        self.lock().place = Some(place);
    }

    /// Sums text that is stored.
    pub(crate) fn sum(&self, text: &[u8]) {
        if let Some(place) = &mut self.lock().place {
            place.sum.update(text);
        }
    }

    /// Passes text that holds no event to be sent. Returns the batches that must end within it.
    #[must_use]
    pub(crate) fn pass(&self, text: &[u8], note: impl FnOnce(&mut Batch)) -> Vec<Batch> {
        let mut collected = self.lock();
        note(&mut collected.batch);
        add(&mut collected, text)
    }

    /// Adds an event with its text. Returns the batch before it, if that was full, and those that must end within the text.
    #[must_use]
    pub(crate) fn collect(&self, line: u64, event: &SentEvent, text: &[u8], max_events: usize) -> Vec<Batch> {
        let mut collected = self.lock();
        let mut whole = Vec::new();
        if !collected.batch.push(line, event, max_events) {
            whole.extend(take(&mut collected));
            let pushed = collected.batch.push(line, event, max_events);
            assert!(pushed, "one event is within the limits of a batch");
        }
        collected.since.get_or_insert_with(Instant::now);
        whole.extend(add(&mut collected, text));
        whole
    }

    /// Takes what there is, if its first event came long enough ago.
    pub(crate) fn take_older_than(&self, age: Duration) -> Option<Batch> {
        let mut collected = self.lock();
        if collected.since.is_some_and(|since| since.elapsed() >= age) { take(&mut collected) } else { None }
    }

    /// Takes what there is: perhaps no event, but text that holds none.
    pub(crate) fn take(&self) -> Option<Batch> {
        take(&mut self.lock())
    }

    /// Up to where the text was read; none if the input is not a source.
    pub(crate) fn position(&self) -> Option<u64> {
        self.lock().place.as_ref().map(|place| place.position)
    }

    /// When the oldest event came that was not taken.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.lock().since
    }
}

/// Adds text, and takes the batches that must end within it. An event whose text goes on behind such an end was stored before that
/// was written, so that it belongs to the batch in front.
fn add(collected: &mut Collected, mut text: &[u8]) -> Vec<Batch> {
    let mut whole = Vec::new();
    while let Some(place) = &mut collected.place {
        let left = place.left().and_then(|left| usize::try_from(left).ok()).filter(|&left| left <= text.len());
        let Some(left) = left else {
            place.add(text);
            break;
        };
        let (of_batch, rest) = text.split_at(left);
        place.add(of_batch);
        whole.extend(take(collected));
        text = rest;
    }
    whole
}

fn take(collected: &mut Collected) -> Option<Batch> {
    collected.since = None;
    let batch = std::mem::take(&mut collected.batch);
    match &mut collected.place {
        Some(place) => place.step().map(|step| batch.of_source(step)),
        None => (!batch.is_empty() || !batch.left_out().is_empty()).then_some(batch),
    }
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, SourceName, SourcePosition, Timestamp, UserName, wire::SentEvent};

    use super::{Batch, Collecting, Place};

    fn event() -> SentEvent {
        let (at, user) = (Timestamp::from_millis(0).unwrap(), UserName::new("a").unwrap());
        Event { at, user, kind: EventKind::Click }.into()
    }

    /// From where to where batches go, and how many events each has.
    fn steps(batches: impl IntoIterator<Item = Batch>) -> Vec<(u64, u64, usize)> {
        let step = |batch: Batch| {
            let step = batch.step().unwrap();
            (step.from.position, step.to.position, batch.lines().len())
        };
        batches.into_iter().map(step).collect()
    }

    #[test]
    fn batches_end_where_parts_end_that_some_shards_have() {
        let collecting = Collecting::default();
        let at = |position| SourcePosition { position, check: None };
        let name = || SourceName::new("a").unwrap();
        collecting.begin_at(Place::new(name(), at(10), vec![5, 10, 24, 30, 36]));
        let mut whole = Vec::new();
        for line in 0..4 {
            whole.extend(collecting.collect(line, &event(), b"12345678\n", 1));
        }
        // The lines end at 19, 28, 37 and 46.
        whole.extend(collecting.take());
        assert_eq!(steps(whole), [(10, 19, 1), (19, 24, 1), (24, 30, 1), (30, 36, 0), (36, 46, 1)]);
    }

    #[test]
    fn text_without_events_ends_a_batch_too() {
        let collecting = Collecting::default();
        let from = SourcePosition::default();
        collecting.begin_at(Place::new(SourceName::new("a").unwrap(), from, vec![9, 12]));
        assert_eq!(steps(collecting.collect(1, &event(), b"12345\n", 9)), []);
        assert_eq!(steps(collecting.pass(b"#1\n", |_| {})), [(0, 9, 1)]);
        assert_eq!(steps(collecting.pass(b"#2\n#3\n", |_| {})), [(9, 12, 0)]);
        assert_eq!(steps(collecting.take()), [(12, 15, 0)]);
    }
}
