//! Collects events in batches, and sums the text that they are from.

use std::{
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
    sum: Sha256,
    /// What is to be summed.
    text: Vec<u8>,
}

impl Place {
    /// Where the source stands. What is before it has yet to be summed.
    pub(crate) fn new(source: SourceName, from: SourcePosition) -> Self {
        Self { source, position: from.position, from, sum: Sha256::new(), text: Vec::new() }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn add(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.position += text.len() as u64;
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

    /// Passes text that holds no event to be sent.
    pub(crate) fn pass(&self, text: &[u8], note: impl FnOnce(&mut Batch)) {
        let mut collected = self.lock();
        note(&mut collected.batch);
        if let Some(place) = &mut collected.place {
            place.add(text);
        }
    }

    /// Adds an event with its text. Returns the batch before it, if that was full.
    pub(crate) fn collect(&self, line: u64, event: &SentEvent, text: &[u8], max_events: usize) -> Option<Batch> {
        let mut collected = self.lock();
        let mut full = None;
        if !collected.batch.push(line, event, max_events) {
            full = take(&mut collected);
            let pushed = collected.batch.push(line, event, max_events);
            assert!(pushed, "one event is within the limits of a batch");
        }
        collected.since.get_or_insert_with(Instant::now);
        if let Some(place) = &mut collected.place {
            place.add(text);
        }
        full
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

fn take(collected: &mut Collected) -> Option<Batch> {
    collected.since = None;
    let batch = std::mem::take(&mut collected.batch);
    match &mut collected.place {
        Some(place) => place.step().map(|step| batch.of_source(step)),
        None => (!batch.is_empty() || !batch.left_out().is_empty()).then_some(batch),
    }
}
