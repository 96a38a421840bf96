//! Stores events: while one commit is under way the next gathers. There is no timer: an idle lane stores an event at once, and a
//! busy one fills its commits by itself.

use std::{collections::HashSet, time::Duration};

use db::{IngestError, Ingested, Store, Writer};
use model::{Event, Hour, wire::MAX_BATCH_HOURS};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

/// An event that has waited longer than this is refused instead of stored: its sender has probably given up.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long to try to find out what became of a commit whose connection died.
const FATE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a commit is tried again because hours had to be reopened first. Each attempt can be blocked by other hours, or
/// by the same ones if they are settled in between, which the settler does not do to an hour just written to.
const MAX_ATTEMPTS: usize = 8;

/// Events that were not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotAccepted {
    /// Too many are waiting already. They are not stored.
    #[error("too many requests are waiting")]
    QueueFull,
    /// The database could not store them. They are not stored. The cause is logged.
    #[error("the database cannot store events now")]
    Unavailable,
    /// The raw events of their hour are gone, so they cannot be counted exactly. They are not stored.
    #[error("the raw events of that hour are no longer kept")]
    Expired,
    /// Nobody knows whether they are stored: the connection died during the commit and the database did not come back in time.
    #[error("it is not known whether the events are stored")]
    Unknown,
}

struct Job {
    events: Vec<Event>,
    arrived: Instant,
    answer: oneshot::Sender<Result<(), NotAccepted>>,
}

impl Job {
    fn answer(self, answer: Result<(), NotAccepted>) {
        // Nobody listens when the client has hung up.
        let _ = self.answer.send(answer);
    }

    fn touches(&self, hours: &[Hour]) -> bool {
        self.events.iter().any(|event| hours.contains(&event.hour()))
    }
}

/// A queue of events and the task that stores them.
pub struct EventLane {
    jobs: mpsc::Sender<Job>,
}

impl EventLane {
    /// Starts the lane's task, which ends when the lane is dropped and all that it accepted is answered.
    pub fn start(
        name: &'static str,
        store: &Store,
        queue_length: usize,
        max_commit_events: usize,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(queue_length);
        let gatherer = Gatherer { queue, max_events: max_commit_events, left_over: None };
        let writer = Writer::new(store.clone(), FATE_TIMEOUT);
        tasks.spawn(store_all(name, gatherer, writer));
        Self { jobs }
    }

    /// Stores events, all or nothing; when this returns `Ok` they are committed.
    pub async fn store(&self, events: Vec<Event>) -> Result<(), NotAccepted> {
        let (answer, answered) = oneshot::channel();
        let job = Job { events, arrived: Instant::now(), answer };
        self.jobs.try_send(job).map_err(|_| NotAccepted::QueueFull)?;
        answered.await.unwrap_or(Err(NotAccepted::Unknown))
    }
}

/// Takes from the queue what goes into one commit.
struct Gatherer {
    queue: mpsc::Receiver<Job>,
    max_events: usize,
    left_over: Option<Job>,
}

impl Gatherer {
    /// All that waits, up to the limits of one commit; waits for one job if there is none. None when the lane has ended.
    async fn next_commit(&mut self) -> Option<Vec<Job>> {
        let first = match self.left_over.take() {
            Some(job) => job,
            None => self.queue.recv().await?,
        };
        let mut events = first.events.len();
        let mut hours: HashSet<Hour> = first.events.iter().map(Event::hour).collect();
        let mut jobs = vec![first];
        while let Ok(job) = self.queue.try_recv() {
            events += job.events.len();
            hours.extend(job.events.iter().map(Event::hour));
            if events > self.max_events || hours.len() > MAX_BATCH_HOURS {
                self.left_over = Some(job);
                break;
            }
            jobs.push(job);
        }
        Some(jobs)
    }
}

async fn store_all(name: &'static str, mut gatherer: Gatherer, mut writer: Writer) {
    while let Some(jobs) = gatherer.next_commit().await {
        let (jobs, stale): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| job.arrived.elapsed() <= LONGEST_WAIT);
        answer_all(stale, Err(NotAccepted::Unavailable));
        if !jobs.is_empty() {
            store_jobs(name, &mut writer, jobs).await;
        }
    }
    if let Err(error) = writer.retire().await {
        tracing::debug!(lane = name, %error, "the writer's row stays behind until the settler tidies it up");
    }
}

/// Stores jobs in one commit, after reopening the hours that need it, and answers each.
async fn store_jobs(lane: &'static str, writer: &mut Writer, mut jobs: Vec<Job>) {
    for _ in 0..MAX_ATTEMPTS {
        match writer.ingest(jobs.iter().flat_map(|job| &job.events)).await {
            Ok(Ingested::Stored) => return answer_all(jobs, Ok(())),
            Ok(Ingested::Blocked { settled, expired }) => {
                let (hopeless, rest) = jobs.into_iter().partition(|job| job.touches(&expired));
                answer_all(hopeless, Err(NotAccepted::Expired));
                jobs = rest;
                for hour in settled {
                    if !jobs.iter().any(|job| job.touches(&[hour])) {
                        continue;
                    }
                    tracing::debug!(lane, %hour, "reopening for a late event");
                    if let Err(error) = writer.reopen(hour).await {
                        tracing::error!(lane, %hour, %error, "could not reopen an hour; its events are refused");
                        let (refused, rest) = jobs.into_iter().partition(|job| job.touches(&[hour]));
                        answer_all(refused, Err(NotAccepted::Unavailable));
                        jobs = rest;
                    }
                }
                if jobs.is_empty() {
                    return;
                }
            }
            Err(error) => {
                let events: usize = jobs.iter().map(|job| job.events.len()).sum();
                tracing::error!(lane, %error, events, "could not store events");
                let answer = match error {
                    IngestError::NotStored(_) => NotAccepted::Unavailable,
                    IngestError::Unknown { .. } => NotAccepted::Unknown,
                };
                return answer_all(jobs, Err(answer));
            }
        }
    }
    tracing::error!(lane, "gave up on events whose hours were settled again and again");
    answer_all(jobs, Err(NotAccepted::Unavailable));
}

fn answer_all(jobs: Vec<Job>, answer: Result<(), NotAccepted>) {
    for job in jobs {
        job.answer(answer);
    }
}
