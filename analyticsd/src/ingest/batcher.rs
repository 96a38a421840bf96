//! Stores events in group commits: while one commit is under way, the events of the next one gather. There is no timer.
//! An idle lane stores an event at once; a busy one fills its commits by itself. Where the way to the database is long, a
//! lane sends further commits behind the one under way.
//!
//! The lane waits only for the commits under way. Slower work runs in tasks beside it: reopening an hour (`reopening`),
//! finding out whether a commit went through (`undecided`), answering late events (`refusing`), waiting for the
//! database to return (`outage`). While a commit hangs, the lane refuses the requests behind it in time.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use db::{
    Answered, Batch as _, Claim, Depth, Fate, Ingested, Moved, Pipeline, Store, StoreError, Undecided, WriteError,
};
use futures_util::FutureExt;
use model::{SiteEvent, SiteHour, SourcePosition, SourceStanding, SourceStep, Submission};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tracing::Instrument;

use crate::{
    ingest::{
        backoff::Backoff,
        commit::Commit,
        expired::{Expired, accepts_from},
        job::{Accepted, IngestError, Job, answer_all},
        limits::body_budget::BodyShare,
        losses::Losses,
        pending::{BatcherLimits, Pending, until},
        spool::SpoolLane,
        storing::{LaneStoring, Proof, Storing},
    },
    process::{tasks::Tasks, watermark::Watermark},
    telemetry::metrics::{CommitOutcome, LaneCommits, LaneName, Queued, ShardMetrics},
};

/// How long to try to find out whether a commit went through, when the connection died during it.
const FATE_PATIENCE: Duration = Duration::from_secs(30);
/// The most commits of one lane whose outcome is being found out. With more of them the lane waits.
const MAX_UNDECIDED: usize = 4;
/// How long a lane waits, after a failed commit, for proof that the database can store events, before it refuses the
/// requests it holds. That is long enough to replace a closed connection, or a pool whose connections are all dead.
const OUTAGE_GRACE: Duration = Duration::from_millis(500);
/// The longest pause of a lane after a commit that failed while others succeed. Each failure costs the database a
/// session.
const LONGEST_PAUSE: Duration = Duration::from_millis(40);
/// How often a request is tried again while connections break and the database works.
const MAX_TRIES: u8 = 3;
/// After this time without a commit the lane of the present proves that it can store events. A replica that is not
/// ready gets no traffic to learn from.
const QUIET: Duration = Duration::from_secs(5);
/// The same for the other lanes, once they have stored anything. The proof also notices events that the database lost.
const QUIET_OF_OTHERS: Duration = Duration::from_mins(1);
/// What the lanes of one shard share.
pub(crate) struct Shared<'a> {
    pub(crate) store: &'a Store,
    /// Keeps events while the database is unavailable.
    pub(crate) spool: Option<&'a SpoolLane>,

    pub(crate) metrics: &'a Arc<ShardMetrics>,
    /// Whether events can be stored, as far as the lanes know.
    pub(crate) storing: &'a Arc<Storing>,
    /// Notices when the database lost committed events.
    pub(crate) losses: Losses,
    /// How many commits of a lane may be under way at a time.
    pub(crate) depth: Depth,
    /// Limits how many hours are reopened at a time. Each takes a connection and reads a whole hour.
    pub(crate) reopening_places: Arc<Semaphore>,
}

/// A queue of events and the task that stores them.
pub(crate) struct Batcher {
    jobs: mpsc::Sender<Job>,
    waiting: Arc<Watermark>,
    spool: Option<SpoolLane>,
}

impl Batcher {
    /// Starts the lane's task in `tasks`. The task ends when the lane is dropped and every request is answered.
    pub(crate) fn start(name: LaneName, limits: BatcherLimits, shared: &Shared<'_>, tasks: &Tasks) -> Self {
        let (jobs, queue) = mpsc::channel(limits.queue_length);
        let waiting = Arc::<Watermark>::default();
        let (store, spool) = (shared.store, shared.spool.cloned());
        let lane = Lane {
            name,
            metrics: Arc::clone(shared.metrics),
            commits: shared.metrics.commits.of(name),
            storing: shared.storing.lane(name, shared.metrics),
            losses: shared.losses.clone(),
            store: store.clone(),
            pipeline: Pipeline::new(store.clone(), shared.depth),
            is_alone: false,
            pending: Pending::new(
                queue,
                Arc::clone(&waiting),
                limits,
                spool.clone(),
                Arc::clone(&shared.reopening_places),
                Arc::clone(shared.metrics),
            ),
            undecided: JoinSet::new(),
            refusing: JoinSet::new(),
            outage: None,
            backoff: Backoff::default(),
            // The present lane proves it at once.
            proves_next: Instant::now() + if name == LaneName::Present { Duration::ZERO } else { QUIET_OF_OTHERS },
        };
        tasks.spawn_lane(lane.run().instrument(shared.metrics.span()));
        Self { jobs, waiting, spool }
    }

    /// How many more requests may wait.
    pub(crate) fn room(&self) -> usize {
        self.jobs.capacity()
    }

    /// The length of the queue and its limit.
    pub(crate) fn queued(&self) -> Queued {
        Queued::of(&self.jobs)
    }

    /// Stores events, all or nothing; when this returns [`Accepted::Committed`] they are committed.
    ///
    /// `share` is the request's part of the body budget. It is returned with the answer, also when the client is gone.
    ///
    /// They are queued at once: a future that had them first would be as large as they are, and so would each that awaits it.
    pub(crate) fn store(
        &self,
        submission: Submission,
        share: Option<Arc<BodyShare>>,
    ) -> impl Future<Output = Result<Accepted, IngestError>> + use<> {
        let (job, answered) = Job::new(submission, share);
        let queued = self.queue(job);
        async move {
            queued?;
            answered.await.unwrap_or(Err(IngestError::Unknown))
        }
    }

    fn queue(&self, job: Job) -> Result<(), IngestError> {
        match &self.spool {
            // The spool may hold an earlier request with the same key.
            Some(spool) if !job.claims.is_empty() && !spool.is_empty() => spool.keep(job),
            _ => {
                self.jobs.try_send(job).map_err(|_| IngestError::TooBusy)?;
                self.waiting.rises(&self.jobs);
            }
        }
        Ok(())
    }
}

struct Lane {
    name: LaneName,
    metrics: Arc<ShardMetrics>,
    commits: Arc<LaneCommits>,
    storing: Arc<LaneStoring>,
    losses: Losses,
    store: Store,
    pipeline: Pipeline<Commit>,
    /// Whether the commit under way was planned, so that none is sent behind it.
    is_alone: bool,
    pending: Pending,
    /// Each finds out whether a commit went through. It answers the requests, or returns those that are not stored.
    undecided: JoinSet<Option<FoundOut>>,
    /// Each answers requests that came too late.
    refusing: JoinSet<()>,
    /// Resolves when events can be stored again.
    outage: Option<Proof>,
    backoff: Backoff,
    /// When the lane proves that it can store events, unless a commit comes first.
    proves_next: Instant,
}

/// What turned out not to be stored.
struct FoundOut {
    /// Of the commit that failed.
    jobs: Vec<Job>,
    cause: StoreError,
    /// Of those that were sent behind it.
    behind: Vec<Job>,
}

/// What a lane does next.
enum Turn {
    /// Requests wait to be stored.
    Commit,
    /// The oldest commit under way is over.
    Answered,
    /// Nothing was stored for so long that the lane must prove that it can.
    Prove,
    /// The lane ends.
    End,
}

impl Lane {
    async fn run(mut self) {
        loop {
            match self.wait().await {
                Turn::Commit => self.commit().await,
                Turn::Answered => self.answered().await,
                Turn::Prove => self.prove().await,
                Turn::End => break,
            }
        }
        self.losses.retire(self.pipeline.into_writer(), self.name).await;
    }

    /// Waits until there is something to do, and collects the results of the tasks beside the lane.
    async fn wait(&mut self) -> Turn {
        while let Some(reopened) = self.pending.reopening.try_join_next() {
            self.pending.reopened(reopened.ok());
        }
        while self.refusing.try_join_next().is_some() {}
        if !self.pipeline.is_empty() {
            self.pending.try_ahead();
            let wanted = self.wanted();
            return tokio::select! {
                biased;
                () = self.pipeline.answered() => Turn::Answered,
                () = self.pending.until_waiting(wanted.unwrap_or(usize::MAX)) => Turn::Commit,
            };
        }
        while let Some(back) = self.undecided.try_join_next() {
            self.decided(back).await;
        }
        loop {
            if self.is_to_prove() {
                return Turn::Prove;
            }
            self.pending.try_ahead();
            if self.pending.is_ready() {
                return Turn::Commit;
            }
            self.pending.refuse_parked();
            let patience = self.pending.next_of_parked();
            let proves_next = self.proves_by_itself().then_some(self.proves_next.into());
            let Pending { queue, is_open, reopening, .. } = &mut self.pending;
            if !*is_open
                && self.undecided.is_empty()
                && self.refusing.is_empty()
                && reopening.is_empty()
                && patience.is_none()
            {
                return Turn::End;
            }
            tokio::select! {
                Some(back) = self.undecided.join_next() => self.decided(back).await,
                Some(_) = self.refusing.join_next() => {}
                Some(reopened) = reopening.join_next() => self.pending.reopened(reopened.ok()),
                () = returned(&mut self.outage) => self.is_back(),
                job = queue.recv(), if *is_open => match job {
                    Some(job) => self.pending.ready.push_back(job),
                    None => *is_open = false,
                },
                () = until(patience), if patience.is_some() => {}
                () = until(proves_next), if proves_next.is_some() => {}
            }
        }
    }

    /// How many jobs have to wait before the next commit is sent behind those under way; none if it waits for them.
    fn wanted(&self) -> Option<usize> {
        // What turns out not to be stored goes first.
        let goes_alone = self.is_alone || self.pending.is_planned() || !self.undecided.is_empty();
        if goes_alone { None } else { self.pipeline.wanted(|commit| commit.jobs.len()) }
    }

    /// Sends the jobs that wait, behind the commits under way.
    async fn commit(&mut self) {
        if !self.pipeline.is_empty() && self.wanted().is_none() {
            return;
        }
        self.is_alone = self.pending.is_planned();
        let jobs = self.pending.gather();
        if jobs.is_empty() {
            return;
        }
        if self.is_away() {
            return self.pending.refuse(jobs);
        }
        let commit = Commit::of(jobs);
        if self.pipeline.is_empty() {
            self.storing.begins();
        } else if commit.only_moves_sources() {
            return self.pending.by_themselves(commit.jobs);
        } else {
            self.commits.sent_ahead();
        }
        let sent = tokio::select! {
            biased;
            sent = self.pipeline.send(commit) => sent,
            never = self.pending.refuse_stale() => match never {},
        };
        if let Err(not_sent) = sent {
            self.conclude(not_sent).await;
        }
    }

    /// Takes the oldest commit under way, once it is over.
    async fn answered(&mut self) {
        let answered = tokio::select! {
            biased;
            answered = self.pipeline.take() => answered,
            never = self.pending.refuse_stale() => match never {},
        };
        self.conclude(answered).await;
    }

    /// Answers the jobs of a commit, or sets them aside until they can be stored.
    async fn conclude(&mut self, Answered { batch, outcome, mut behind, took }: Answered<Commit>) {
        self.ends(match &outcome {
            Ok(_) => None,
            Err(WriteError::NotStored(error)) => Some(error),
            Err(WriteError::Undecided(undecided)) => Some(undecided.cause()),
        });
        if !self.pipeline.is_empty() {
            self.storing.begins();
        }
        self.commits.tried(CommitOutcome::of(&outcome), took);
        if CommitOutcome::of(&outcome).is_answer() {
            self.metrics.database.answered();
        }
        self.losses.look_for(self.pipeline.take_left());
        let undecided_too = outcome.as_ref().err().map_or(0, WriteError::undecided_behind);
        // What else was sent behind it was refused for its sake alone.
        self.pending.first(behind.drain(undecided_too..).flat_map(|commit| commit.jobs).collect());
        if let Err(WriteError::Undecided(undecided)) = outcome {
            return self.find_out(batch, behind, undecided).await;
        }
        match outcome {
            Ok(Ingested::Stored) => {
                self.stores();
                self.commits.stored(batch.events());
                self.pending.sources_moved(batch.steps());
                batch.jobs.into_iter().for_each(Job::committed);
            }
            Ok(Ingested::Blocked { settled, expired, deleted }) => {
                let is_deleted = |job: &mut Job| job.submission.events.iter().any(|it| deleted.contains(&it.site));
                let mut jobs = batch.jobs;
                answer_all(jobs.extract_if(.., is_deleted), &Err(IngestError::SiteDeleted));
                let expired: HashSet<SiteHour> = expired.into_iter().collect();
                let (hopeless, rest): (Vec<Job>, _) = jobs.into_iter().partition(|job| job.touches(&expired));
                self.refuse_expired(hopeless, expired);
                let wanted: HashSet<SiteHour> =
                    rest.iter().flat_map(|job| &job.submission.events).map(SiteEvent::site_hour).collect();
                let settled = settled.into_iter().filter(|hour| wanted.contains(hour));
                self.pending.reopen(settled, &self.store);
                // Jobs that touch these hours are parked when they are gathered again.
                self.pending.first(rest);
            }
            Ok(Ingested::Claimed { repeated, conflicting }) => {
                self.resolve_claims(batch.jobs, &repeated, &conflicting);
            }
            Ok(Ingested::Moved(moved)) => {
                let Commit { jobs, steps, .. } = batch;
                self.resolve_sources(jobs, &steps, moved);
            }
            Err(WriteError::NotStored(error)) => self.not_stored(batch.jobs, &error).await,
            Err(WriteError::Undecided(_)) => unreachable!("it is found out above"),
        }
    }

    /// Proves that events can be stored, after a while without a commit.
    async fn prove(&mut self) {
        self.storing.begins();
        let proof = tokio::select! {
            biased;
            proof = self.pipeline.prove() => proof,
            never = self.pending.refuse_stale() => match never {},
        };
        self.ends(proof.as_ref().err());
        self.losses.look_for(self.pipeline.take_left());
        match proof {
            Ok(()) => {
                self.metrics.database.answered();
                self.stores();
            }
            Err(error) => self.not_stored(Vec::new(), &error).await,
        }
    }

    /// Notes that a commit is over. One that hung and failed makes the lane unavailable until a commit succeeds, also
    /// while its outcome is being found out.
    fn ends(&mut self, failed: Option<&StoreError>) {
        if let Some(error) = failed.filter(|error| error.is_silence() || self.storing.hangs()) {
            self.fails(error);
            self.await_return();
        }
        self.storing.ends();
    }

    /// Whether the lane itself proves that it can store events. During an outage the task that waits for the database
    /// does it.
    fn proves_by_itself(&self) -> bool {
        self.outage.is_none()
            && self.pending.is_open
            && (self.name == LaneName::Present || self.pipeline.is_registered())
    }

    fn is_to_prove(&self) -> bool {
        self.proves_by_itself() && Instant::now() >= self.proves_next
    }

    /// Notes that a commit succeeded.
    fn stores(&mut self) {
        let quiet = if self.name == LaneName::Present { QUIET } else { QUIET_OF_OTHERS };
        self.proves_next = Instant::now() + quiet;
        self.backoff = Backoff::default();
        if self.storing.stores() {
            tracing::info!(lane = self.name.name(), "events can be stored again");
        }
    }

    /// Answers late events. The answer contains the time from which events are accepted, which the database knows.
    fn refuse_expired(&mut self, jobs: Vec<Job>, expired: HashSet<SiteHour>) {
        if jobs.is_empty() {
            return;
        }
        let store = self.store.clone();
        self.refusing.spawn(async move {
            let accepts_from = accepts_from(&store).await;
            for job in jobs {
                let Some(SiteEvent { site, event }) = job.first_in(&expired) else { continue };
                let expired = Expired { at: event.at, site: *site, accepts_from };
                job.answer(Err(IngestError::Expired(expired)));
            }
        });
    }

    /// Answers jobs whose keys are stored already, and leaves the rest to the next commit.
    fn resolve_claims(&mut self, jobs: Vec<Job>, repeated: &[usize], conflicting: &[usize]) {
        let mut rest = Vec::new();
        let mut first_claim = 0;
        for mut job in jobs {
            let claims = first_claim..first_claim + job.claims.len();
            first_claim = claims.end;
            if let Some(place) = conflicting.iter().find(|place| claims.contains(place)) {
                let Claim { site_hour, key, .. } = job.claims[place - claims.start].clone();
                job.answer(Err(IngestError::Conflict(site_hour, key)));
                continue;
            }
            let stored = repeated.iter().filter(|place| claims.contains(place));
            let stored: HashSet<usize> = stored.map(|place| job.claims[place - claims.start].keyed).collect();
            if !stored.is_empty() {
                let before = job.submission.events.len();
                job.leave_out(&stored);
                self.commits.repeated(before - job.submission.events.len());
            }
            if job.submission.events.is_empty() && job.submission.step.is_none() {
                job.committed();
            } else {
                rest.push(job);
            }
        }
        self.pending.by_themselves(rest);
    }

    /// Answers jobs whose sources have come further already, sets those aside whose sources have not come so far, and leaves the rest
    /// to the next commit.
    fn resolve_sources(&mut self, jobs: Vec<Job>, steps: &[SourceStep], moved: Vec<Moved>) {
        let mut stand: HashMap<_, SourcePosition> = moved
            .into_iter()
            .map(|(place, position)| ((steps[place].site, steps[place].source.clone()), position))
            .collect();
        let (mut rest, mut ahead) = (Vec::new(), Vec::new());
        for mut job in jobs {
            let step = job.submission.step.as_ref();
            let found = step.and_then(|step| Some((step, stand.get_mut(&(step.site, step.source.clone()))?)));
            let Some((step, stands_at)) = found else {
                rest.push(job);
                continue;
            };
            if step.from == *stands_at {
                // This commit will take it there.
                *stands_at = step.to.clone();
                rest.push(job);
            } else if step.to == *stands_at {
                self.commits.repeated(job.submission.events.len());
                job.repeated(None);
            } else if step.to.position < stands_at.position {
                self.commits.repeated(job.submission.events.len());
                let stands_at = stands_at.position;
                job.repeated(Some(stands_at));
            } else if step.from.position > stands_at.position {
                job.waits_from = Some(stands_at.clone());
                ahead.push(job);
            } else {
                let error = IngestError::SourceElsewhere(SourceStanding::at(stands_at.clone()));
                job.answer(Err(error));
            }
        }
        self.pending.wait_for_sources(ahead);
        self.pending.by_themselves(rest);
    }

    /// Tries jobs again that are certainly not stored, if the database can store events now. Otherwise refuses them, or
    /// writes them to the spool.
    async fn not_stored(&mut self, mut jobs: Vec<Job>, error: &StoreError) {
        if self.is_away() {
            return self.pending.refuse(jobs);
        }
        let events: usize = jobs.iter().map(|job| job.submission.events.len()).sum();
        tracing::warn!(lane = self.name.name(), %error, events, "a commit failed; none of its events are stored");
        self.await_return();
        let pause = self.backoff.pause().min(LONGEST_PAUSE);
        let was_alone = jobs.len() == 1;
        let is_back = tokio::select! {
            is_back = async {
                let is_back = timeout(OUTAGE_GRACE, returned(&mut self.outage)).await.is_ok();
                if is_back {
                    sleep(pause).await;
                }
                is_back
            } => is_back,
            never = self.pending.refuse_stale() => match never {},
        };
        if !is_back {
            self.fails(error);
            return self.pending.refuse(jobs);
        }
        self.is_back();
        for job in &mut jobs {
            job.tries += 1;
        }
        if error.is_outage() {
            let again = jobs.extract_if(.., |job| job.tries <= MAX_TRIES).collect();
            self.pending.refuse(jobs);
            self.pending.first(again);
            return;
        }
        // Events can be stored, so one of these jobs may be the cause. It must not fail the others: all are tried once
        // more together, then each alone.
        let together = jobs.extract_if(.., |job| job.tries <= 1).collect();
        let (alone, refused): (Vec<Job>, _) = jobs.into_iter().partition(|job| job.tries == 2 && !was_alone);
        if !refused.is_empty() {
            tracing::error!(lane = self.name.name(), %error, requests = refused.len(), "the database refused events");
        }
        answer_all(refused, &Err(IngestError::Refused));
        self.pending.first(together);
        self.pending.each_alone(alone);
    }

    /// Notes that nothing can be stored for now.
    fn fails(&self, error: &StoreError) {
        if self.storing.fails(error) {
            tracing::error!(lane = self.name.name(), %error, "events cannot be stored; the log says when they can be stored again");
        }
    }

    /// From now on requests are refused at once until events can be stored again. Otherwise each would wait for a
    /// hanging database.
    fn await_return(&mut self) {
        if self.outage.is_none() {
            self.outage = Some(self.storing.proof(&self.store));
        }
    }

    /// Whether nothing can be stored, as far as the lane knows.
    fn is_away(&mut self) -> bool {
        if returned(&mut self.outage).now_or_never().is_some() {
            self.is_back();
        }
        self.outage.is_some()
    }

    /// Notes that events can be stored again.
    fn is_back(&mut self) {
        self.outage = None;
        self.metrics.database.answered();
        if self.storing.stores() {
            tracing::info!(lane = self.name.name(), "events can be stored again");
        }
    }

    /// Tries jobs again that turned out not to be stored.
    async fn decided(&mut self, back: Result<Option<FoundOut>, JoinError>) {
        if let Ok(Some(FoundOut { jobs, cause, behind })) = back {
            self.pending.first(behind);
            self.not_stored(jobs, &cause).await;
        }
    }

    /// Starts a task that finds out whether a commit, and those that were sent behind it, went through, and answers.
    async fn find_out(&mut self, commit: Commit, behind: Vec<Commit>, undecided: Undecided) {
        let lane = self.name.name();
        tracing::warn!(lane, %undecided, "finding out whether a commit went through");
        while self.undecided.len() >= MAX_UNDECIDED {
            let back = tokio::select! {
                back = self.undecided.join_next() => back,
                never = self.pending.refuse_stale() => match never {},
            };
            if let Some(back) = back {
                self.decided(back).await;
            }
        }
        let (store, commits, losses) = (self.store.clone(), Arc::clone(&self.commits), self.losses.clone());
        let finding_out = async move {
            let mut all = std::iter::once(commit).chain(behind);
            match undecided.find_out(&store, FATE_PATIENCE).await {
                Fate::Stored { behind, cause } => {
                    tracing::info!(lane, commits = 1 + behind, "the commit went through");
                    for commit in all.by_ref().take(1 + behind) {
                        commits.stored(commit.events());
                        commit.jobs.into_iter().for_each(Job::committed);
                    }
                    let jobs = all.next()?.jobs;
                    Some(FoundOut { jobs, cause, behind: all.flat_map(|commit| commit.jobs).collect() })
                }
                Fate::NotStored { cause, loss } => {
                    if let Some(loss) = loss {
                        losses.report(loss).await;
                    }
                    let jobs = all.next()?.jobs;
                    Some(FoundOut { jobs, cause, behind: all.flat_map(|commit| commit.jobs).collect() })
                }
                Fate::Unknown { cause, before } => {
                    losses.look_for(Some(before));
                    let jobs: Vec<Job> = all.flat_map(|commit| commit.jobs).collect();
                    tracing::error!(lane, error = %cause, requests = jobs.len(), "could not find out whether a commit went through; closing its clients' connections without an answer");
                    answer_all(jobs, &Err(IngestError::Unknown));
                    None
                }
            }
        };
        self.undecided.spawn(finding_out.in_current_span());
    }
}

/// Resolves when the outage is over; never resolves without an outage.
async fn returned(outage: &mut Option<Proof>) {
    match outage {
        Some(proof) => proof.await,
        None => pending().await,
    }
}
