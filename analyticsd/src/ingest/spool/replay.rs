//! Stores the spool's requests once the database is back. The transaction that stores events also records the position
//! in the spool, so the replay may be interrupted anywhere: it asks the database where to continue.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use db::{Claim, Ingested, Store, StoreError, WriteError, Writer};
use model::{SiteHour, SiteId, SourceName, SourcePosition, SourceStep, Submission, wire::MAX_BATCH_EVENTS};
use thiserror::Error;
use tokio::{
    sync::Notify,
    task::{JoinError, spawn_blocking},
    time::{sleep, timeout},
};

use super::{error::SpoolError, log::SpoolLog, record, rejects::Rejects};
use crate::{
    ingest::{
        expired::log_missing_events,
        job::{Fit, Room},
        losses::Losses,
    },
    telemetry::metrics::{CommitOutcome, LaneName, ShardMetrics},
};

/// The pause after a failure doubles each time, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The most records that are read from the file at a time.
const MAX_RECORDS: usize = 1_024;

#[derive(Debug, Error)]
enum ReplayError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ingest(#[from] WriteError),
    #[error(transparent)]
    Unreadable(#[from] record::Unreadable),
    #[error("an earlier replay stored more than this one knew")]
    Overtaken,
    #[error("cannot write the rejected requests to their file: {0}")]
    Rejects(#[from] std::io::Error),
    #[error(transparent)]
    Failed(#[from] JoinError),
}

impl ReplayError {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Ingest(WriteError::NotStored(error)) if !error.is_outage())
    }
}

pub(crate) async fn replay_forever(
    store: Store,
    log: Arc<SpoolLog>,
    appended: Arc<Notify>,
    rejects: Rejects,
    metrics: Arc<ShardMetrics>,
    losses: Losses,
) {
    let mut replay = Replay { store, log, rejects: Arc::new(rejects), metrics, losses, cannot_remove: false };
    let mut pause = FIRST_PAUSE;
    let mut most = MAX_RECORDS;
    loop {
        replay.remove_stored().await;
        if replay.log.len() == 0 {
            if replay.cannot_remove {
                let _ = timeout(pause, appended.notified()).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            } else {
                appended.notified().await;
            }
            continue;
        }
        replay.store.answers().await;
        match replay.run(most).await {
            Ok(requests) => {
                tracing::info!(requests, "stored the requests that were in the spool");
                (pause, most) = (FIRST_PAUSE, MAX_RECORDS);
            }
            Err(error) => {
                tracing::error!(%error, requests = replay.log.len(), "could not store the requests in the spool; they stay there, and the daemon tries again");
                // A request that the database refuses must not hold up those before it.
                most = if error.is_refusal() { 1 } else { MAX_RECORDS };
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

struct Replay {
    store: Store,
    log: Arc<SpoolLog>,
    rejects: Arc<Rejects>,
    metrics: Arc<ShardMetrics>,
    losses: Losses,
    /// Whether stored records could not be removed from the file the last time. Storing goes on all the same.
    cannot_remove: bool,
}

impl Replay {
    /// Stores all requests, in commits of at most `most` each; returns how many there were.
    async fn run(&mut self, most: usize) -> Result<u64, ReplayError> {
        let mut writer = Writer::new(self.store.clone());
        let mut requests = 0;
        while let Some(name) = self.on_log(SpoolLog::oldest_name).await?? {
            requests += self.run_name(&mut writer, &name, most).await?;
        }
        self.losses.retire(writer, LaneName::Spool).await;
        Ok(requests)
    }

    /// Stores the records of the oldest name. The database may have some of them already.
    async fn run_name(&mut self, writer: &mut Writer, name: &str, most: usize) -> Result<u64, ReplayError> {
        let source = SourceName::of_the_daemon("spool", name);
        let mut from = self.store.source_position(SiteId::NAMELESS, &source).await?.position;
        self.note_stored(name, from).await?;
        let mut requests = 0;
        loop {
            let records = self.oldest_of(name, most).await?;
            let Some(&(last, _)) = records.last() else { return Ok(requests) };
            requests += records.len() as u64;
            let submissions = records.into_iter().map(|(_, submission)| submission).collect();
            let at = |position| SourcePosition { position, check: None };
            let step = SourceStep { site: SiteId::NAMELESS, source: source.clone(), from: at(from), to: at(last) };
            self.store_once(writer, step, submissions).await?;
            self.note_stored(name, last).await?;
            from = last;
        }
    }

    /// Stores requests and the position in the spool in one commit.
    async fn store_once(
        &self,
        writer: &mut Writer,
        step: SourceStep,
        mut submissions: Vec<Submission>,
    ) -> Result<(), ReplayError> {
        loop {
            submissions.retain(|submission| !submission.events.is_empty());
            let claims: Vec<Vec<Claim>> = submissions.iter().map(Claim::all_of).collect();
            let all_claims: Vec<Claim> = claims.iter().flatten().cloned().collect();
            let events = submissions.iter().flat_map(|submission| &submission.events);
            let commits = self.metrics.commits.of(LaneName::Spool);
            let began = Instant::now();
            let mut outcome = writer.ingest_once(events, &all_claims, std::slice::from_ref(&step)).await;
            commits.tried(CommitOutcome::of(&outcome), began.elapsed());
            self.losses.look_for(writer.take_left());
            // The position in the spool shows whether this commit went through.
            if let Err(WriteError::Undecided(undecided)) = &mut outcome {
                self.losses.look_for(Some(undecided.take_before()));
            }
            match outcome? {
                Ingested::Stored => {
                    commits.stored(submissions.iter().flat_map(|submission| &submission.events));
                    return Ok(());
                }
                Ingested::Blocked { settled, expired, deleted } => {
                    let expired: HashSet<SiteHour> = expired.into_iter().collect();
                    // A request may be for other sites too, and it is acknowledged.
                    let parts = submissions.into_iter().map(|it| it.partition(|it| deleted.contains(&it.site)));
                    let (mut of_deleted, mut rest): (Vec<Submission>, Vec<Submission>) = parts.unzip();
                    of_deleted.retain(|submission| !submission.events.is_empty());
                    rest.retain(|submission| !submission.events.is_empty());
                    self.reject(of_deleted, "their site is deleted").await?;
                    let (gone, rest) = rest.into_iter().partition(|submission| {
                        submission.events.iter().any(|event| expired.contains(&event.site_hour()))
                    });
                    self.reject(gone, "the raw events of their hour are no longer all kept").await?;
                    submissions = rest;
                    for (hour, sites) in SiteHour::by_hour(settled) {
                        let missing = self.metrics.reopenings.count(self.store.reopen(hour, &sites)).await?;
                        log_missing_events(hour, &missing);
                    }
                }
                Ingested::Claimed { repeated, conflicting } => {
                    let mut conflicts = Vec::new();
                    let mut rest = Vec::new();
                    let mut first = 0;
                    for (submission, claims) in submissions.into_iter().zip(&claims) {
                        let own = first..first + claims.len();
                        first = own.end;
                        if conflicting.iter().any(|place| own.contains(place)) {
                            conflicts.push(submission);
                            continue;
                        }
                        let stored = repeated.iter().filter(|place| own.contains(place));
                        rest.push(submission.without(&stored.map(|place| claims[place - own.start].keyed).collect()));
                    }
                    self.reject(conflicts, "another request was stored under their idempotency key").await?;
                    submissions = rest;
                }
                Ingested::Moved(_) => return Err(ReplayError::Overtaken),
            }
        }
    }

    async fn reject(&self, submissions: Vec<Submission>, reason: &'static str) -> Result<(), ReplayError> {
        if submissions.is_empty() {
            return Ok(());
        }
        tracing::error!(requests = submissions.len(), reason, file = %self.rejects.path().display(), "spooled requests cannot be stored");
        self.metrics.spool.rejected_requests.add(submissions.len());
        let rejects = Arc::clone(&self.rejects);
        Ok(spawn_blocking(move || rejects.add(&submissions)).await??)
    }

    /// The oldest requests of a name that fit into one commit.
    async fn oldest_of(&self, name: &str, most: usize) -> Result<Vec<(u64, Submission)>, ReplayError> {
        let name = name.to_owned();
        self.on_log(move |log| {
            let mut room = Room::new(MAX_BATCH_EVENTS);
            let mut taken = Vec::new();
            let mut unreadable = None;
            log.oldest_of(&name, |number, record| match record::decode(record) {
                Ok(submission) => {
                    let fits = room.take(&submission, &Claim::all_of(&submission)) == Fit::Fits;
                    if fits {
                        taken.push((number, submission));
                    }
                    fits && taken.len() < most
                }
                Err(error) => {
                    unreadable = Some(error);
                    false
                }
            })?;
            match unreadable {
                // The requests before it can be stored.
                Some(error) if taken.is_empty() => Err(error.into()),
                _ => Ok(taken),
            }
        })
        .await?
    }

    /// Notes that the records of a name are stored up to a number, and removes them from the file if it can be written.
    async fn note_stored(&mut self, name: &str, to: u64) -> Result<(), ReplayError> {
        let name = name.to_owned();
        self.on_log(move |log| log.note_stored(&name, to)).await?;
        // Another try for each commit would read the whole file each time.
        if !self.cannot_remove {
            self.remove_stored().await;
        }
        Ok(())
    }

    /// Removes stored records from the file. When the disk is too full for that, they stay and storing goes on.
    async fn remove_stored(&mut self) {
        let removed = match self.on_log(SpoolLog::remove_stored).await {
            Ok(removed) => removed.map_err(ReplayError::from),
            Err(error) => Err(error),
        };
        if let Err(error) = &removed
            && !self.cannot_remove
        {
            tracing::warn!(%error, "stored events cannot be removed from the spool; the daemon tries again, and stores no event twice");
        }
        self.cannot_remove = removed.is_err();
    }

    /// Runs on a thread for blocking work, because the file blocks.
    async fn on_log<T: Send + 'static>(
        &self,
        act: impl FnOnce(&SpoolLog) -> T + Send + 'static,
    ) -> Result<T, ReplayError> {
        let log = Arc::clone(&self.log);
        Ok(spawn_blocking(move || act(&log)).await?)
    }
}
