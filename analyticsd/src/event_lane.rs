//! Stores events: while one commit is under way the next gathers. There is no timer: an idle lane stores an event at once, and a
//! busy one fills its commits by itself.
//!
//! The lane waits for nothing but the commit under way. What takes longer happens beside it: an hour that must be opened again
//! (`reopening`), a commit whose fate is not known (`undecided`), what to tell those who came too late (`refusing`), a database that is
//! away (`outage`). And while a commit hangs, those who wait behind it are refused in time.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use db::{Fate, IngestError, Ingested, Retention, Store, StoreError, Undecided, Writer};
use model::{Event, Hour, Submission};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{
    body_budget::BodyShare,
    expired::Expired,
    job::{Accepted, Job, NotAccepted, answer_all},
    metrics::{CommitOutcome, LaneCommits, LaneName, Metrics, Queued},
    spool::SpoolLane,
    waiting::{Waiting, refuse, until},
};

/// How long to try to find out what became of a commit whose connection died.
const FATE_PATIENCE: Duration = Duration::from_secs(30);
/// The most commits of one lane whose fate is being found out. With more of them the lane waits.
const MAX_UNDECIDED: usize = 4;
/// How long a lane waits for a database that has just gone, before it refuses what it holds. A connection that was ended, or a pool
/// whose connections are all dead, is replaced within it.
const OUTAGE_GRACE: Duration = Duration::from_millis(500);
/// How long each look for a database that is away may keep waiting what came meanwhile.
const PING_PATIENCE: Duration = Duration::from_millis(50);
/// How long an answer to what came too late may wait to say from when on events are accepted.
const BOUND_PATIENCE: Duration = Duration::from_secs(1);
/// The bounds of a lane.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// The most requests that wait.
    pub queue_length: usize,
    /// The most events in one commit.
    pub commit_events: usize,
}

/// What the lanes of one daemon have in common.
pub struct Shared<'a> {
    /// The database.
    pub store: &'a Store,
    /// Where events are kept while it is away.
    pub spool: Option<&'a SpoolLane>,
    /// Where what happens is counted.
    pub metrics: &'a Arc<Metrics>,
    /// How many hours may be opened again at a time; each takes a connection and reads a whole hour.
    pub reopening_places: Arc<Semaphore>,
}

/// A queue of events and the task that stores them.
pub struct EventLane {
    jobs: mpsc::Sender<Job>,
    spool: Option<SpoolLane>,
}

impl EventLane {
    /// Starts the lane's task in `tasks`, which ends when the lane is dropped and all that it accepted is answered.
    pub fn start(name: LaneName, limits: LaneLimits, shared: &Shared<'_>, tasks: &mut JoinSet<()>) -> Self {
        let (jobs, queue) = mpsc::channel(limits.queue_length);
        let (store, spool) = (shared.store, shared.spool.cloned());
        let lane = Lane {
            name: name.name(),
            metrics: Arc::clone(shared.metrics),
            commits: shared.metrics.commits.of(name),
            store: store.clone(),
            writer: Writer::new(store.clone()),
            waiting: Waiting::new(queue, limits, shared),
            undecided: JoinSet::new(),
            refusing: JoinSet::new(),
            outage: None,
        };
        tasks.spawn(lane.run());
        Self { jobs, spool }
    }

    /// How many more requests may wait.
    pub fn room(&self) -> usize {
        self.jobs.capacity()
    }

    /// How many requests wait, and how many may.
    pub(crate) fn queued(&self) -> Queued {
        Queued::of(&self.jobs)
    }

    /// Stores events, all or nothing; when this returns [`Accepted::Committed`] they are committed.
    ///
    /// `share` is what the request holds of the memory for bodies; it is given back with the answer, also when its client is gone.
    pub async fn store(&self, submission: Submission, share: Option<BodyShare>) -> Result<Accepted, NotAccepted> {
        let (job, answered) = Job::new(submission, share);
        match &self.spool {
            // A key may be in the spool already, whose request came first.
            Some(spool) if !job.claims.is_empty() && !spool.is_empty() => spool.keep(job),
            _ => self.jobs.try_send(job).map_err(|_| NotAccepted::TooBusy)?,
        }
        answered.await.unwrap_or(Err(NotAccepted::Unknown))
    }
}

struct Lane {
    name: &'static str,
    metrics: Arc<Metrics>,
    commits: Arc<LaneCommits>,
    store: Store,
    writer: Writer,
    waiting: Waiting,
    /// Each finds out what became of a commit and answers, or gives back what is not stored for another try.
    undecided: JoinSet<Vec<Job>>,
    /// Each tells some that they came too late.
    refusing: JoinSet<()>,
    /// Ends when the database answers again.
    outage: Option<JoinHandle<()>>,
}

impl Lane {
    async fn run(mut self) {
        while self.wait().await {
            let jobs = self.waiting.gather();
            if jobs.is_empty() {
                continue;
            }
            if self.is_away().await {
                self.waiting.refuse(jobs);
            } else {
                self.commit(jobs).await;
            }
        }
        if let Some(outage) = self.outage {
            outage.abort();
        }
        if let Err(error) = self.writer.retire().await {
            tracing::debug!(lane = self.name, %error, "the writer's row stays behind until the settler tidies it up");
        }
    }

    /// Waits until there is something to store, and takes in what came back meanwhile. False when the lane has ended.
    async fn wait(&mut self) -> bool {
        while let Some(back) = self.undecided.try_join_next() {
            self.waiting.first(back.unwrap_or_default());
        }
        while let Some(reopened) = self.waiting.reopening.try_join_next() {
            self.waiting.reopened(reopened.ok());
        }
        while self.refusing.try_join_next().is_some() {}
        while self.waiting.ready.is_empty() {
            self.waiting.refuse_parked();
            let patience = self.waiting.parked_deadline();
            let Waiting { queue, is_open, reopening, .. } = &mut self.waiting;
            tokio::select! {
                Some(back) = self.undecided.join_next() => self.waiting.first(back.unwrap_or_default()),
                Some(_) = self.refusing.join_next() => {}
                Some(reopened) = reopening.join_next() => self.waiting.reopened(reopened.ok()),
                job = queue.recv(), if *is_open => match job {
                    Some(job) => self.waiting.ready.push_back(job),
                    None => *is_open = false,
                },
                () = until(patience), if patience.is_some() => {}
                else => return false,
            }
        }
        true
    }

    /// Stores jobs in one commit and answers them, or puts them where they wait for what keeps them from being stored.
    async fn commit(&mut self, jobs: Vec<Job>) {
        let claims: Vec<_> = jobs.iter().flat_map(|job| &job.claims).cloned().collect();
        let events = jobs.iter().flat_map(|job| &job.submission.events);
        let began = Instant::now();
        let outcome = tokio::select! {
            biased;
            outcome = self.writer.ingest_once(events, &claims, None) => outcome,
            never = self.waiting.refuse_stale() => match never {},
        };
        self.commits.tried(CommitOutcome::of(&outcome), began);
        if CommitOutcome::of(&outcome).is_answer() {
            self.metrics.database.answered();
        }
        match outcome {
            Ok(Ingested::Stored) => {
                self.commits.stored(jobs.iter().flat_map(|job| &job.submission.events));
                answer_all(jobs, Ok(Accepted::Committed));
            }
            Ok(Ingested::Blocked { settled, expired }) => {
                let expired: HashSet<Hour> = expired.into_iter().collect();
                let (hopeless, rest): (Vec<Job>, _) = jobs.into_iter().partition(|job| job.touches(&expired));
                self.refuse_expired(hopeless, expired);
                let wanted: HashSet<Hour> =
                    rest.iter().flat_map(|job| &job.submission.events).map(Event::hour).collect();
                for hour in settled.into_iter().filter(|hour| wanted.contains(hour)) {
                    tracing::debug!(lane = self.name, %hour, "reopening for a late event");
                    self.waiting.reopen(hour, &self.store);
                }
                // Those that touch these hours are parked when they are gathered again.
                self.waiting.first(rest);
            }
            Ok(Ingested::Claimed { repeated, conflicting }) => self.resolve_claims(jobs, &repeated, &conflicting),
            Err(IngestError::NotStored(error)) => self.not_stored(jobs, &error).await,
            Err(IngestError::Undecided(undecided)) => self.find_out(jobs, undecided).await,
        }
    }

    /// Answers those that came too late, for which the database has to be asked from when on events are accepted.
    fn refuse_expired(&mut self, jobs: Vec<Job>, expired: HashSet<Hour>) {
        if jobs.is_empty() {
            return;
        }
        let store = self.store.clone();
        self.refusing.spawn(async move {
            // A task of its own, so that what is asked is not given up in the middle, which would leave a connection of the pool in doubt.
            let asked = tokio::spawn(async move { Retention::accepts_from(&store).await });
            let accepts_from = match timeout(BOUND_PATIENCE, asked).await {
                Ok(Ok(Ok(bound))) => Some(bound.unwrap_or_default()),
                _ => None,
            };
            for job in jobs {
                let Some(at) = job.first_in(&expired).map(|event| event.at) else { continue };
                job.answer(Err(NotAccepted::Expired(Expired { at, accepts_from })));
            }
        });
    }

    /// Answers those whose keys are stored already, and leaves the rest to the next commit.
    fn resolve_claims(&mut self, jobs: Vec<Job>, repeated: &[usize], conflicting: &[usize]) {
        let mut rest = Vec::new();
        let mut first_claim = 0;
        for mut job in jobs {
            let claims = first_claim..first_claim + job.claims.len();
            first_claim = claims.end;
            if conflicting.iter().any(|place| claims.contains(place)) {
                job.answer(Err(NotAccepted::Conflict));
                continue;
            }
            let stored = repeated.iter().filter(|place| claims.contains(place));
            let stored: HashSet<usize> = stored.map(|place| job.claims[place - claims.start].keyed).collect();
            if !stored.is_empty() {
                let before = job.submission.events.len();
                job.leave_out(&stored);
                self.commits.repeated(before - job.submission.events.len());
            }
            if job.submission.events.is_empty() {
                job.answer(Ok(Accepted::Committed));
            } else {
                rest.push(job);
            }
        }
        self.waiting.by_themselves(rest);
    }

    async fn not_stored(&mut self, mut jobs: Vec<Job>, error: &StoreError) {
        let events: usize = jobs.iter().map(|job| job.submission.events.len()).sum();
        if !error.is_outage() {
            tracing::error!(lane = self.name, %error, events, "the database refused events");
            if jobs.len() == 1 {
                return answer_all(jobs, Err(NotAccepted::Refused));
            }
            // The one that it refuses must not take the others with it.
            return self.waiting.each_alone(jobs);
        }
        if let StoreError::Cancelled(_) = error {
            tracing::error!(lane = self.name, %error, events, "the database gave up storing events");
        } else {
            tracing::error!(lane = self.name, %error, events, "the database is away");
        }
        let answers = tokio::select! {
            answers = timeout(OUTAGE_GRACE, self.store.answers()) => answers.is_ok(),
            never = self.waiting.refuse_stale() => match never {},
        };
        if !answers {
            self.await_return();
        }
        let again = if answers {
            jobs.extract_if(.., |job| !std::mem::replace(&mut job.tried, true)).collect()
        } else {
            Vec::new()
        };
        self.waiting.refuse(jobs);
        self.waiting.first(again);
    }

    /// What comes from now on is refused until the database answers again, rather than finding out for itself in the time that a
    /// hanging database takes.
    fn await_return(&mut self) {
        let store = self.store.clone();
        self.outage = Some(tokio::spawn(async move { store.answers().await }));
    }

    /// Whether the database is known to be away. A short look sees at once that it is back; the task sees it too, however long
    /// connecting takes.
    async fn is_away(&mut self) -> bool {
        let Some(outage) = &self.outage else { return false };
        let is_back = outage.is_finished() || matches!(timeout(PING_PATIENCE, self.store.ping()).await, Ok(Ok(())));
        if is_back {
            tracing::info!(lane = self.name, "the database is back");
            outage.abort();
            self.outage = None;
        }
        !is_back
    }

    /// Leaves finding out, and answering, to a task of its own.
    async fn find_out(&mut self, mut jobs: Vec<Job>, undecided: Undecided) {
        tracing::warn!(lane = self.name, %undecided, "finding out whether a commit went through");
        if undecided.timed_out() {
            self.await_return();
        }
        while self.undecided.len() >= MAX_UNDECIDED {
            tokio::select! {
                back = self.undecided.join_next() => self.waiting.first(back.and_then(Result::ok).unwrap_or_default()),
                never = self.waiting.refuse_stale() => match never {},
            }
        }
        let (lane, store, spool, commits) =
            (self.name, self.store.clone(), self.waiting.spool.clone(), Arc::clone(&self.commits));
        self.undecided.spawn(async move {
            match undecided.find_out(&store, FATE_PATIENCE).await {
                Fate::Stored => {
                    tracing::info!(lane, "the commit went through");
                    commits.stored(jobs.iter().flat_map(|job| &job.submission.events));
                    answer_all(jobs, Ok(Accepted::Committed));
                    Vec::new()
                }
                Fate::NotStored => {
                    tracing::info!(lane, "the commit did not go through");
                    let again = jobs.extract_if(.., |job| !std::mem::replace(&mut job.tried, true)).collect();
                    refuse(jobs, spool.as_ref());
                    again
                }
                Fate::Unknown(error) => {
                    tracing::error!(lane, %error, requests = jobs.len(), "nobody knows whether a commit went through; hanging up");
                    answer_all(jobs, Err(NotAccepted::Unknown));
                    Vec::new()
                }
            }
        });
    }
}
