//! Answers queries for counts. One read of every shard answers all queries that were waiting when it began, with the
//! sums. A query joins the next read, never one under way, so its counts include every event that was acknowledged
//! before it. Nothing is cached, so nothing has to be invalidated.
//!
//! A second read begins before the first is over once as many queries wait as the first answers. With fewer it would cost
//! the database more than it saves; where the way to the database is long, it answers half as many again.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use db::{Shards, Store, StoreError};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use hyper::body::Bytes;
use model::{HourCounts, SiteHour};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
    time::sleep_until,
};

use crate::process::{tasks::Tasks, watermark::Watermark};
use crate::telemetry::{
    metrics::{Metrics, Queued, ReadLaneName},
    outage::Outage,
};

/// The most reads of a lane that are under way.
const MAX_READS: usize = 2;
/// The pause after a failed read doubles each time, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The most statements that may fail while the hours of one read are read in parts. To find all hours of one damaged
/// page takes fewer: it holds some twenty, and each of them fails once by itself and in a few parts.
const MOST_FAILURES: u32 = 256;

/// Why a query was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ReadError {
    /// Too many queries wait already.
    #[error("too many requests are waiting")]
    QueueFull,
    /// The database did not answer; of several, this shard. The cause is logged.
    #[error("the database does not answer")]
    Unavailable(Option<usize>),
}

/// The counts of an hour.
#[derive(Debug, Clone)]
pub(crate) struct SharedCounts {
    pub(crate) counts: HourCounts,
    /// The same as `GET /analytics` writes them, once for all who ask in one read.
    pub(crate) text: Bytes,
}

impl From<HourCounts> for SharedCounts {
    fn from(counts: HourCounts) -> Self {
        // Long enough for every answer, so that it never grows.
        let mut text = String::with_capacity(96);
        let _ = write!(text, "{counts}");
        Self { counts, text: text.into() }
    }
}

struct Question {
    hour: SiteHour,
    answer: oneshot::Sender<Result<SharedCounts, ReadError>>,
}

/// A queue of queries and the task that answers them.
pub(crate) struct CountBatcher {
    questions: mpsc::Sender<Question>,
    waiting: Arc<Watermark>,
}

impl CountBatcher {
    /// Starts the lane's task. It ends when the lane is dropped and all queries are answered.
    pub(crate) fn start(
        shards: Shards,
        queue_length: usize,
        name: ReadLaneName,
        metrics: &Arc<Metrics>,
        tasks: &Tasks,
    ) -> Self {
        let (questions, queue) = mpsc::channel(queue_length);
        let waiting = Arc::<Watermark>::default();
        tasks.spawn_lane(answer_all(shards, queue, queue_length, Arc::clone(&waiting), name, Arc::clone(metrics)));
        Self { questions, waiting }
    }

    /// The length of the queue and its limit.
    pub(crate) fn queued(&self) -> Queued {
        Queued::of(&self.questions)
    }

    /// Reads the counts of an hour of a site. The answer takes at most the read under way and the next one. The store bounds
    /// both, so no query needs a timer of its own.
    pub(crate) async fn counts(&self, hour: SiteHour) -> Result<SharedCounts, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(Question { hour, answer }).map_err(|_| ReadError::QueueFull)?;
        self.waiting.rises(&self.questions);
        answered.await.unwrap_or(Err(ReadError::Unavailable(None)))
    }
}

async fn answer_all(
    shards: Shards,
    mut queue: mpsc::Receiver<Question>,
    queue_length: usize,
    waiting: Arc<Watermark>,
    name: ReadLaneName,
    metrics: Arc<Metrics>,
) {
    let mut failing = Failing::default();
    let mut under_way = FuturesUnordered::new();
    // How many queries they answer together.
    let mut asked = 0;
    loop {
        let mut questions = Vec::new();
        if under_way.is_empty() {
            failing.until_over().await;
            if queue.recv_many(&mut questions, queue_length).await == 0 {
                break;
            }
        } else {
            let may_begin = under_way.len() < MAX_READS && !failing.pauses();
            let over: Option<Asked> = tokio::select! {
                biased;
                over = under_way.next() => over,
                () = waiting.reached(&queue, asked), if may_begin => None,
            };
            if let Some(over) = over {
                asked -= over.questions.len();
                failing.note(over.answer(&shards), &shards, name);
                continue;
            }
        }
        // Requests that have arrived but are not parsed yet run first, so that they join this read. Without any this
        // returns at once.
        yield_now().await;
        while questions.len() < queue_length
            && let Ok(question) = queue.try_recv()
        {
            questions.push(question);
        }
        asked += questions.len();
        under_way.push(read_for(questions, &shards, name, &metrics));
    }
}

/// What a lane knows of reads that failed.
struct Failing {
    outage: Outage,
    /// After the next failure.
    pause: Duration,
    /// Before it no read begins.
    not_before: Option<Instant>,
}

impl Default for Failing {
    fn default() -> Self {
        Self { outage: Outage::default(), pause: FIRST_PAUSE, not_before: None }
    }
}

impl Failing {
    /// Whether the next read has to wait for those under way, and then for a pause.
    fn pauses(&self) -> bool {
        self.not_before.is_some()
    }

    /// Waits until the next read may begin.
    async fn until_over(&mut self) {
        if let Some(time) = self.not_before.take() {
            sleep_until(time.into()).await;
        }
    }

    fn note(&mut self, outcome: Result<(), Failed>, shards: &Shards, lane: ReadLaneName) {
        let lane = lane.name();
        match outcome {
            Ok(()) => {
                self.pause = FIRST_PAUSE;
                if self.outage.ends() {
                    tracing::info!(lane, "counts can be read again");
                }
            }
            Err(Failed { shard, error, unread, is_all }) => {
                if self.outage.begins() {
                    tracing::error!(%error, lane, hours = unread, "{}counts cannot be read; the log says when they can be read again", shards.place(shard));
                }
                // Most failures cost the database a session.
                self.not_before = Some(Instant::now() + if is_all { self.pause } else { FIRST_PAUSE });
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Why hours were not read.
struct Failed {
    shard: usize,
    error: StoreError,
    /// How many.
    unread: usize,
    /// Whether none was read.
    is_all: bool,
}

/// Questions, and the read that answers them.
struct Asked {
    questions: Vec<Question>,
    /// How many different ones they ask for.
    hours: usize,
    read: Read,
}

impl Asked {
    fn answer(self, shards: &Shards) -> Result<(), Failed> {
        let Self { questions, hours, read: Read { counts, failed } } = self;
        let away = failed.as_ref().map(|(shard, _)| *shard).filter(|_| shards.len() > 1);
        // Most ask for the hour of the one before.
        let mut last: Option<(SiteHour, SharedCounts)> = None;
        for Question { hour, answer } in questions {
            if last.as_ref().is_none_or(|(of, _)| *of != hour) {
                last = counts.get(&hour).map(|&counts| (hour, SharedCounts::from(counts)));
            }
            let counted = last.as_ref().map(|(_, counted)| counted.clone());
            // The answer goes nowhere if the client has hung up.
            let _ = answer.send(counted.ok_or(ReadError::Unavailable(away)));
        }
        let (unread, is_all) = (hours - counts.len(), counts.is_empty());
        failed.map_or(Ok(()), |(shard, error)| Err(Failed { shard, error, unread, is_all }))
    }
}

async fn read_for(questions: Vec<Question>, shards: &Shards, name: ReadLaneName, metrics: &Metrics) -> Asked {
    let mut hours: Vec<SiteHour> = questions.iter().map(|question| question.hour).collect();
    hours.sort_unstable();
    hours.dedup();
    let reads = metrics.reads.of(name);
    reads.questions.add(questions.len());
    reads.hours.observe(hours.len() as u64);
    let began = Instant::now();
    let read = read_all(shards, &hours, name, metrics).await;
    reads.seconds.observe_since(began);
    Asked { questions, hours: hours.len(), read }
}

/// What came of reading some hours.
struct Read {
    counts: HashMap<SiteHour, HourCounts>,
    /// Why the other hours were not read: the shard, and its error.
    failed: Option<(usize, StoreError)>,
}

/// Reads hours in every shard at once, and adds what they count. Of an hour that one of them does not answer for there is
/// no sum.
async fn read_all(shards: &Shards, hours: &[SiteHour], lane: ReadLaneName, metrics: &Metrics) -> Read {
    let reads = shards.iter().zip(&metrics.shards).map(async |(store, metrics)| {
        let OfShard { counts, failed } = read(store, hours).await;
        if !counts.is_empty() || hours.is_empty() {
            metrics.database.answered();
        }
        if failed.is_some() {
            metrics.read_failed(lane);
        }
        OfShard { counts, failed }
    });
    let mut reads = join_all(reads)
        .await
        .into_iter()
        .enumerate()
        .map(|(shard, OfShard { counts, failed })| Read { counts, failed: failed.map(|error| (shard, error)) });
    let Some(mut all) = reads.next() else { return Read { counts: HashMap::new(), failed: None } };
    for of_shard in reads {
        all.counts.retain(|hour, counts| match of_shard.counts.get(hour) {
            Some(more) => {
                *counts += *more;
                true
            }
            None => false,
        });
        all.failed = all.failed.or(of_shard.failed);
    }
    all
}

/// What came of reading some hours in one shard.
struct OfShard {
    counts: HashMap<SiteHour, HourCounts>,
    failed: Option<StoreError>,
}

/// Reads hours together. If that fails for what the database holds of one of them, such as a page whose checksum is
/// wrong, the others must not fail with it: halves are read then, and halves of these.
async fn read(store: &Store, hours: &[SiteHour]) -> OfShard {
    let mut read = OfShard { counts: HashMap::new(), failed: None };
    let mut failures = 0;
    let mut parts = vec![hours];
    while let Some(part) = parts.pop() {
        match store.counts(part).await {
            Ok(counts) => read.counts.extend(part.iter().copied().zip(counts)),
            Err(error) => {
                failures += 1;
                if error.is_damage() && failures < MOST_FAILURES {
                    if part.len() > 1 {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                } else {
                    parts.clear();
                }
                read.failed = Some(error);
            }
        }
    }
    read
}
