//! What waits for one of a lane's next commits, and which of it goes into the next one.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    future::pending,
    sync::Arc,
};

use db::{Reopened, Store, StoreError};
use model::Hour;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    ingest::{
        expired::log_missing_events,
        job::{Fit, IngestError, Job, Room, answer_all},
        spool::SpoolLane,
    },
    telemetry::metrics::Metrics,
};

/// The most requests that are set aside for the next commit because this one holds their key.
const MAX_SAME_KEY: usize = 256;

/// The bounds of a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatcherLimits {
    /// The most requests that wait.
    pub(crate) queue_length: usize,
    /// The most events in one commit.
    pub(crate) commit_events: usize,
}

/// What waits for one of the lane's next commits.
pub(crate) struct Pending {
    pub(crate) queue: mpsc::Receiver<Job>,
    pub(crate) is_open: bool,
    /// Taken from the queue, or back from a commit that did not store them. The oldest come first, or nearly so.
    pub(crate) ready: VecDeque<Job>,
    /// How many of the next jobs each of the next commits takes; where nothing is said, one takes all that fit.
    planned: VecDeque<usize>,
    limits: BatcherLimits,
    /// Those that wait for hours that are being opened again.
    parked: Vec<Job>,
    reopening_hours: HashSet<Hour>,
    pub(crate) reopening: JoinSet<(Hour, Result<Reopened, StoreError>)>,
    reopening_places: Arc<Semaphore>,
    pub(crate) spool: Option<SpoolLane>,
    metrics: Arc<Metrics>,
}

impl Pending {
    pub(crate) fn new(
        queue: mpsc::Receiver<Job>,
        limits: BatcherLimits,
        spool: Option<SpoolLane>,
        reopening_places: Arc<Semaphore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            queue,
            is_open: true,
            ready: VecDeque::new(),
            planned: VecDeque::new(),
            limits,
            parked: Vec::new(),
            reopening_hours: HashSet::new(),
            reopening: JoinSet::new(),
            reopening_places,
            spool,
            metrics,
        }
    }

    /// Puts jobs back to where the next commit begins.
    pub(crate) fn first(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.ready.push_front(job);
        }
    }

    /// Puts jobs back to where the next commit begins, which takes no others: what it holds was just looked up, so it is stored unless somebody
    /// else stores the same at that moment. Together with others, whose keys may be taken already, it might have to be put back again and again.
    pub(crate) fn by_themselves(&mut self, jobs: Vec<Job>) {
        if !jobs.is_empty() {
            self.planned.push_front(jobs.len());
        }
        self.first(jobs);
    }

    /// Puts jobs back to where the next commits begin, of which each takes one.
    pub(crate) fn each_alone(&mut self, jobs: Vec<Job>) {
        for _ in &jobs {
            self.planned.push_front(1);
        }
        self.first(jobs);
    }

    /// All that waits, up to the limits of one commit.
    pub(crate) fn gather(&mut self) -> Vec<Job> {
        let mut room = Room::new(self.limits.commit_events);
        let mut jobs: Vec<Job> = Vec::new();
        let mut same_key = Vec::new();
        let mut left = self.planned.pop_front().unwrap_or(usize::MAX);
        let mut followers = 0;
        while left > 0
            && same_key.len() < MAX_SAME_KEY
            && followers < self.limits.queue_length
            && let Some(job) = self.ready.pop_front().or_else(|| self.queue.try_recv().ok())
        {
            left -= 1;
            if job.is_stale() {
                // What was tried already did not wait for its turn, but for the database.
                if job.tries > 0 {
                    self.refuse(vec![job]);
                } else {
                    job.answer(Err(IngestError::TooBusy));
                }
                continue;
            }
            if job.touches(&self.reopening_hours) {
                if self.parked.len() < self.limits.queue_length {
                    self.parked.push(job);
                } else {
                    job.answer(Err(IngestError::Rebuilding));
                }
                continue;
            }
            match room.take(&job.submission, &job.claims) {
                Fit::Fits => jobs.push(job),
                Fit::SameKey(holder) if jobs[holder].is_repeated_by(&job) => {
                    followers += 1;
                    jobs[holder].lead(job);
                }
                Fit::SameKey(_) => same_key.push(job),
                Fit::Full => {
                    self.ready.push_front(job);
                    break;
                }
            }
        }
        self.first(same_key);
        jobs
    }

    pub(crate) fn reopen(&mut self, hour: Hour, store: &Store) {
        if self.reopening_hours.insert(hour) {
            let (store, places) = (store.clone(), Arc::clone(&self.reopening_places));
            let metrics = Arc::clone(&self.metrics);
            self.reopening.spawn(async move {
                let _place = places.acquire().await;
                (hour, metrics.reopenings.count(store.reopen(hour)).await)
            });
        }
    }

    /// Takes the jobs up again that waited for an hour. `done` is none if the task itself failed, which it never should.
    pub(crate) fn reopened(&mut self, done: Option<(Hour, Result<Reopened, StoreError>)>) {
        let hours: HashSet<Hour> = match &done {
            Some((hour, _)) => [*hour].into(),
            None => std::mem::take(&mut self.reopening_hours),
        };
        self.reopening_hours.retain(|hour| !hours.contains(hour));
        let waited: Vec<Job> = self.parked.extract_if(.., |job| job.touches(&hours)).collect();
        match done {
            Some((hour, Ok(reopened))) => {
                // Once for each hour: from now on the database says by itself that it takes no events.
                if reopened == Reopened::EventsMissing {
                    log_missing_events(hour);
                }
                self.first(waited);
            }
            Some((hour, Err(error))) => {
                tracing::error!(%hour, %error, "could not reopen an hour; its events are refused");
                if error.is_outage() { self.refuse(waited) } else { answer_all(waited, Err(IngestError::Refused)) }
            }
            None => answer_all(waited, Err(IngestError::Refused)),
        }
    }

    /// When the first of those that wait for an hour has waited long enough.
    pub(crate) fn parked_deadline(&self) -> Option<Instant> {
        self.parked.iter().map(Job::deadline).min()
    }

    pub(crate) fn refuse_parked(&mut self) {
        answer_all(self.parked.extract_if(.., |job| job.is_stale()), Err(IngestError::Rebuilding));
    }

    /// Goes on for as long as a commit is under way: whoever waits too long behind it is refused.
    pub(crate) async fn refuse_stale(&mut self) -> Infallible {
        loop {
            self.refuse_parked();
            let parked = self.parked_deadline();
            if self.ready.is_empty() && self.is_open {
                tokio::select! {
                    job = self.queue.recv() => match job {
                        Some(job) => self.ready.push_back(job),
                        None => self.is_open = false,
                    },
                    () = until(parked) => continue,
                }
            }
            until(self.ready.front().map(Job::deadline).into_iter().chain(parked).min()).await;
            let mut stale = Vec::new();
            while let Some(job) = self.ready.pop_front().or_else(|| self.queue.try_recv().ok()) {
                if !job.is_stale() {
                    self.ready.push_front(job);
                    break;
                }
                stale.push(job);
            }
            self.refuse(stale);
        }
    }

    pub(crate) fn refuse(&self, jobs: Vec<Job>) {
        refuse(jobs, self.spool.as_ref());
    }
}

/// Never, where there is no deadline.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Tells them that the database is away, or keeps their events for when it is back.
fn refuse(jobs: Vec<Job>, spool: Option<&SpoolLane>) {
    match spool {
        Some(spool) => jobs.into_iter().for_each(|job| spool.keep(job)),
        None => answer_all(jobs, Err(IngestError::Unavailable)),
    }
}
