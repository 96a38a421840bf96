//! Keeps the present apart from the past, so that what happens to an old hour never delays the current one.

use db::Store;
use model::{Event, Hour, HourCounts, Timestamp};
use tokio::task::JoinSet;

use crate::{
    count_lane::{CountLane, Unanswered},
    event_lane::{EventLane, NotAccepted},
};

/// The most events that wait for one lane's next commit, and the most questions that wait for one lane's next read. Beyond it
/// the answer is 503. A waiting event takes about 300 bytes at most, so a full queue takes about 5 MiB.
const QUEUE_LENGTH: usize = 16_384;
/// The most events in one commit of single events; a commit of so many takes some tens of milliseconds.
const MAX_COMMIT_EVENTS: usize = 4_096;
/// Batches are up to 10,000 events each, so few may wait.
const BULK_QUEUE_LENGTH: usize = 16;

/// The lanes of one daemon. Each has a task of its own and uses at most one connection at a time.
pub struct Lanes {
    present_events: EventLane,
    past_events: EventLane,
    bulk_events: EventLane,
    present_counts: CountLane,
    past_counts: CountLane,
}

impl Lanes {
    /// Starts the lanes' tasks in `tasks`. They end, with all that they accepted answered, once the [`Lanes`] are dropped.
    pub fn start(store: &Store, tasks: &mut JoinSet<()>) -> Self {
        Self {
            present_events: EventLane::start("present", store, QUEUE_LENGTH, MAX_COMMIT_EVENTS, tasks),
            past_events: EventLane::start("past", store, QUEUE_LENGTH, MAX_COMMIT_EVENTS, tasks),
            bulk_events: EventLane::start("bulk", store, BULK_QUEUE_LENGTH, model::wire::MAX_BATCH_EVENTS, tasks),
            present_counts: CountLane::start(store.clone(), QUEUE_LENGTH, tasks),
            past_counts: CountLane::start(store.clone(), QUEUE_LENGTH, tasks),
        }
    }

    /// Stores one event; when this returns `Ok` it is committed.
    pub async fn store_one(&self, event: Event) -> Result<(), NotAccepted> {
        let lane = if is_present(event.hour()) { &self.present_events } else { &self.past_events };
        lane.store(vec![event]).await
    }

    /// Stores a batch, all or nothing; when this returns `Ok` it is committed.
    pub async fn store_batch(&self, events: Vec<Event>) -> Result<(), NotAccepted> {
        self.bulk_events.store(events).await
    }

    /// The exact counts of an hour, including every event that was acknowledged before the call.
    pub async fn counts(&self, hour: Hour) -> Result<HourCounts, Unanswered> {
        let lane = if is_present(hour) { &self.present_counts } else { &self.past_counts };
        lane.counts(hour).await
    }
}

/// The current hour, the one before it (which is not settled yet), and the one after it, which clocks ahead of ours call current.
/// What lies further ahead needs room of its own to be made, for which the present must not wait either.
fn is_present(hour: Hour) -> bool {
    let current = Hour::containing(Timestamp::now());
    hour == current || Some(hour) == current.previous() || Some(hour) == current.next()
}
