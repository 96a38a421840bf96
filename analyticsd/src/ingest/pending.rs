//! The requests that wait for a lane's next commits, and the choice of those that go into the next one.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::pending,
    sync::Arc,
    time::Duration,
};

use db::{Store, StoreError};
use model::{Hour, SiteHour, SiteId, SourceStep};
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
    process::watermark::Watermark,
    telemetry::metrics::ShardMetrics,
};

/// The most requests that are set aside for the next commit because this one holds their key, or another part of their source.
const MAX_ASIDE: usize = 256;
/// How long a request waits before its source is asked again whether it has come to where the request begins: another daemon may
/// have got what lies between.
const STEP_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy)]
pub(crate) struct BatcherLimits {
    /// The most requests in the queue.
    pub(crate) queue_length: usize,
    /// The most events in one commit.
    pub(crate) commit_events: usize,
}

/// An hour that was reopened for late events of some sites.
pub(crate) struct Reopened {
    hour: Hour,
    /// The sites of which raw events are missing, so that the hour stays settled.
    missing: Result<Vec<SiteId>, StoreError>,
}

/// The requests that wait for a lane's next commits.
pub(crate) struct Pending {
    pub(crate) queue: mpsc::Receiver<Job>,
    waiting: Arc<Watermark>,
    pub(crate) is_open: bool,
    /// Taken from the queue, or returned from a commit that did not store them. The oldest come first, or nearly so.
    pub(crate) ready: VecDeque<Job>,
    /// The jobs of the next commits, each of which takes no others. When this is empty, a commit takes all that fit.
    planned: VecDeque<VecDeque<Job>>,
    limits: BatcherLimits,
    /// Jobs that wait for hours that are being reopened.
    parked: Vec<Job>,
    /// Jobs of sources that have not come to where they begin.
    ahead: Vec<Job>,
    /// When they are tried again.
    tries_ahead_at: Instant,
    reopening_hours: HashMap<Hour, Vec<SiteId>>,
    pub(crate) reopening: JoinSet<Reopened>,
    reopening_places: Arc<Semaphore>,
    pub(crate) spool: Option<SpoolLane>,
    metrics: Arc<ShardMetrics>,
}

impl Pending {
    pub(crate) fn new(
        queue: mpsc::Receiver<Job>,
        waiting: Arc<Watermark>,
        limits: BatcherLimits,
        spool: Option<SpoolLane>,
        reopening_places: Arc<Semaphore>,
        metrics: Arc<ShardMetrics>,
    ) -> Self {
        Self {
            queue,
            waiting,
            is_open: true,
            ready: VecDeque::new(),
            planned: VecDeque::new(),
            limits,
            parked: Vec::new(),
            ahead: Vec::new(),
            tries_ahead_at: Instant::now(),
            reopening_hours: HashMap::new(),
            reopening: JoinSet::new(),
            reopening_places,
            spool,
            metrics,
        }
    }

    /// Puts jobs back at the front.
    pub(crate) fn first(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.ready.push_front(job);
        }
    }

    /// Puts jobs back at the front, and the next commit takes only them. Their keys were just looked up, so the commit
    /// succeeds unless another daemon stores the same keys at that moment. Together with other jobs, whose keys may be
    /// taken, they might be put back again and again.
    pub(crate) fn by_themselves(&mut self, jobs: Vec<Job>) {
        if !jobs.is_empty() {
            self.planned.push_front(jobs.into());
        }
    }

    /// Puts jobs back at the front, and each of the next commits takes one of them.
    pub(crate) fn each_alone(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.planned.push_front([job].into());
        }
    }

    /// Whether the next commit takes only certain jobs. It has to be the only one under way, so that it meets what it was planned for.
    pub(crate) fn is_planned(&self) -> bool {
        !self.planned.is_empty()
    }

    /// Whether any job waits that the next commit may take.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_planned() || !self.ready.is_empty()
    }

    /// Takes the jobs of the next commit, up to its limits.
    pub(crate) fn gather(&mut self) -> Vec<Job> {
        let mut room = Room::new(self.limits.commit_events);
        let now = Instant::now();
        let waiting = self.ready.len() + self.queue.len();
        let mut jobs: Vec<Job> = Vec::with_capacity(waiting.min(self.limits.commit_events));
        let mut aside = Vec::new();
        let mut planned = self.planned.pop_front();
        let mut followers = 0;
        while aside.len() < MAX_ASIDE
            && followers < self.limits.queue_length
            && let Some(job) = match &mut planned {
                Some(planned) => planned.pop_front(),
                None => self.ready.pop_front().or_else(|| self.queue.try_recv().ok()),
            }
        {
            if job.is_stale(now) {
                // A job that was tried already waited for the database, not for its turn.
                if job.tries > 0 {
                    self.refuse(vec![job]);
                } else {
                    job.not_reached();
                }
                continue;
            }
            if !self.reopening_hours.is_empty() && job.has(|it| self.reopening_hours.contains_key(&it.hour)) {
                if self.parked.len() < self.limits.queue_length {
                    self.parked.push(job);
                } else {
                    self.refuse_waiting(job);
                }
                continue;
            }
            match room.take(&job.submission, &job.claims) {
                Fit::Fits => jobs.push(job),
                Fit::SameKey(holder) if jobs[holder].is_repeated_by(&job) => {
                    followers += 1;
                    jobs[holder].lead(job);
                }
                Fit::SameKey(_) | Fit::OutOfStep => aside.push(job),
                Fit::Full => {
                    planned.as_mut().unwrap_or(&mut self.ready).push_front(job);
                    break;
                }
            }
        }
        self.first(aside);
        if let Some(left) = planned.filter(|left| !left.is_empty()) {
            self.planned.push_front(left);
        }
        jobs
    }

    /// Sets jobs aside whose sources have not come to where they begin.
    pub(crate) fn wait_for_sources(&mut self, jobs: Vec<Job>) {
        if !jobs.is_empty() && self.ahead.is_empty() {
            self.tries_ahead_at = Instant::now() + STEP_PAUSE;
        }
        for job in jobs {
            if self.ahead.len() < self.limits.queue_length { self.ahead.push(job) } else { job.not_reached() }
        }
    }

    /// Resumes the jobs of sources that moved, the earliest first.
    pub(crate) fn sources_moved(&mut self, steps: &[SourceStep]) {
        let has_moved = |job: &mut Job| {
            let step = job.submission.step.as_ref();
            step.is_some_and(|step| steps.iter().any(|moved| moved.is_of_the_source_of(step)))
        };
        let mut jobs: Vec<Job> = self.ahead.extract_if(.., has_moved).collect();
        jobs.sort_by_key(|job| job.submission.step.as_ref().map(|step| step.from.position));
        self.first(jobs);
    }

    /// Resumes all jobs that wait for their sources, if it is time to.
    pub(crate) fn try_ahead(&mut self) {
        if !self.ahead.is_empty() && Instant::now() >= self.tries_ahead_at {
            let steps: Vec<SourceStep> =
                self.ahead.iter().filter_map(|job| job.submission.step.as_deref().cloned()).collect();
            self.sources_moved(&steps);
        }
    }

    /// Begins to reopen hours of sites. The raw events of an hour are read once for all its sites, and all events of the
    /// hour wait, since the database locks it as a whole: those of other sites are reopened together behind it.
    pub(crate) fn reopen(&mut self, hours: impl IntoIterator<Item = SiteHour>, store: &Store) {
        for (hour, sites) in SiteHour::by_hour(hours) {
            if self.reopening_hours.contains_key(&hour) {
                continue;
            }
            self.reopening_hours.insert(hour, sites.clone());
            tracing::debug!(%hour, sites = sites.len(), "reopening for late events");
            let (store, places) = (store.clone(), Arc::clone(&self.reopening_places));
            let metrics = Arc::clone(&self.metrics);
            self.reopening.spawn(async move {
                let _place = places.acquire().await;
                Reopened { hour, missing: metrics.reopenings.count(store.reopen(hour, &sites)).await }
            });
        }
    }

    /// Resumes the jobs that waited for an hour. `done` is `None` if the task itself failed, which is a bug.
    pub(crate) fn reopened(&mut self, done: Option<Reopened>) {
        let Some(Reopened { hour, missing }) = done else {
            self.reopening_hours.clear();
            return answer_all(self.parked.drain(..), &Err(IngestError::Refused));
        };
        self.reopening_hours.remove(&hour);
        let waited: Vec<Job> = self.parked.extract_if(.., |job| job.has(|it| it.hour == hour)).collect();
        match missing {
            Ok(missing) => {
                // This is logged once for each hour: from now on the database itself refuses events of it.
                log_missing_events(hour, &missing);
                self.first(waited);
            }
            Err(error) => {
                tracing::error!(%hour, %error, "could not reopen an hour; its late events are refused");
                if error.is_outage() { self.refuse(waited) } else { answer_all(waited, &Err(IngestError::Refused)) }
            }
        }
    }

    /// The first deadline of the jobs that are set aside, for an hour or for their source.
    pub(crate) fn parked_deadline(&self) -> Option<Instant> {
        self.parked.iter().chain(&self.ahead).map(Job::deadline).min()
    }

    /// When something is to be done with the jobs that are set aside.
    pub(crate) fn next_of_parked(&self) -> Option<Instant> {
        let tries_ahead_at = (!self.ahead.is_empty()).then_some(self.tries_ahead_at);
        self.parked_deadline().into_iter().chain(tries_ahead_at).min()
    }

    pub(crate) fn refuse_parked(&mut self) {
        let now = Instant::now();
        let stale: Vec<Job> = self.parked.extract_if(.., |job| job.is_stale(now)).collect();
        for job in stale {
            self.refuse_waiting(job);
        }
        for job in self.ahead.extract_if(.., |job| job.is_stale(now)) {
            job.not_reached();
        }
    }

    /// Refuses a job that waits for an hour. Whoever sent it is told that the hour is being rebuilt only if it is for a site
    /// of which that is so: it may have no business with the others.
    fn refuse_waiting(&self, job: Job) {
        let is_rebuilt =
            |it: SiteHour| self.reopening_hours.get(&it.hour).is_some_and(|sites| sites.contains(&it.site));
        let error = if job.has(is_rebuilt) { IngestError::Rebuilding } else { IngestError::TooBusy };
        job.answer(Err(error));
    }

    /// Runs while a commit is under way, and refuses the jobs that wait too long behind it.
    pub(crate) async fn refuse_stale(&mut self) -> Infallible {
        loop {
            self.until_waiting(usize::MAX).await;
        }
    }

    /// The same until so many jobs wait for the next commit.
    pub(crate) async fn until_waiting(&mut self, wanted: usize) {
        loop {
            self.refuse_parked();
            let parked = self.parked_deadline();
            let planned = self.planned.iter().flatten().map(Job::deadline).min();
            let deadline = self.ready.front().map(Job::deadline).into_iter().chain(planned).chain(parked).min();
            if self.is_open && !self.is_ready() {
                // The first that waits tells when to look again.
                tokio::select! {
                    job = self.queue.recv() => match job {
                        Some(job) => self.ready.push_back(job),
                        None => self.is_open = false,
                    },
                    () = until(deadline) => self.refuse_waiting_too_long(),
                }
                continue;
            }
            let in_queue = wanted.saturating_sub(self.ready.len());
            tokio::select! {
                () = self.waiting.reached(&self.queue, in_queue), if wanted < usize::MAX => return,
                () = until(deadline) => self.refuse_waiting_too_long(),
            }
        }
    }

    fn refuse_waiting_too_long(&mut self) {
        let (now, mut stale) = (Instant::now(), Vec::new());
        for planned in &mut self.planned {
            let (old, rest): (Vec<Job>, _) = std::mem::take(planned).into_iter().partition(|job| job.is_stale(now));
            stale.extend(old);
            *planned = rest.into();
        }
        self.planned.retain(|planned| !planned.is_empty());
        while let Some(job) = self.ready.pop_front().or_else(|| self.queue.try_recv().ok()) {
            if !job.is_stale(now) {
                self.ready.push_front(job);
                break;
            }
            stale.push(job);
        }
        self.refuse(stale);
    }

    pub(crate) fn refuse(&self, jobs: Vec<Job>) {
        refuse(jobs, self.spool.as_ref());
    }
}

/// Never resolves without a deadline.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Answers that the database is unavailable, or writes the events to the spool.
fn refuse(jobs: Vec<Job>, spool: Option<&SpoolLane>) {
    match spool {
        Some(spool) => jobs.into_iter().for_each(|job| spool.keep(job)),
        None => answer_all(jobs, &Err(IngestError::Unavailable)),
    }
}
