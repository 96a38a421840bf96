//! Stores what is in the spool once the database is back. How far it is stored is written in the transaction of the events, so
//! it may be interrupted anywhere: whoever goes on asks the database first.

use std::{collections::HashSet, sync::Arc, time::Duration};

use db::{Claim, IngestError, Ingested, SpoolPosition, Store, StoreError, Writer};
use model::{Hour, Submission, wire::MAX_BATCH_EVENTS};
use thiserror::Error;
use tokio::{
    sync::Notify,
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use super::{log::SpoolLog, record, rejects::Rejects};
use crate::{
    job::{Fit, Room},
    metrics::Metrics,
    spool::SpoolError,
};

/// Pauses after a failure: doubled each time, from the first to the longest.
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
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Unreadable(#[from] record::Unreadable),
    #[error("an earlier replay stored more than it was known to")]
    Overtaken,
    #[error("cannot write down what was rejected: {0}")]
    Rejects(#[from] std::io::Error),
    #[error(transparent)]
    Failed(#[from] JoinError),
}

impl ReplayError {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Ingest(IngestError::NotStored(error)) if !error.is_outage())
    }
}

pub(crate) async fn replay_forever(
    store: Store,
    log: Arc<SpoolLog>,
    appended: Arc<Notify>,
    rejects: Rejects,
    metrics: Arc<Metrics>,
) {
    let mut replay = Replay { spool: log.name(), store, log, rejects: Arc::new(rejects), metrics };
    let mut pause = FIRST_PAUSE;
    let mut most = MAX_RECORDS;
    loop {
        if replay.log.len() == 0 {
            appended.notified().await;
            continue;
        }
        replay.store.answers().await;
        match replay.run(most).await {
            Ok(requests) => {
                tracing::info!(requests, "stored what was spooled while the database was away");
                (pause, most) = (FIRST_PAUSE, MAX_RECORDS);
            }
            Err(error) => {
                tracing::error!(%error, requests = replay.log.len(), "could not store what is in the spool; it is kept and tried again");
                // One that the database refuses must not keep back those before it.
                most = if error.is_refusal() { 1 } else { MAX_RECORDS };
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

struct Replay {
    spool: String,
    store: Store,
    log: Arc<SpoolLog>,
    rejects: Arc<Rejects>,
    metrics: Arc<Metrics>,
}

impl Replay {
    /// Stores all that there is, in commits of at most `most` requests; returns how many there were.
    async fn run(&mut self, most: usize) -> Result<u64, ReplayError> {
        let mut writer = Writer::new(self.store.clone());
        let stored_to = self.store.spool_stored_to(&self.spool).await?;
        let mut from = u64::try_from(stored_to).unwrap_or_default();
        self.remove_up_to(from).await?;
        let mut requests = 0;
        loop {
            let records = self.oldest(most).await?;
            let Some(&(last, _)) = records.last() else { break };
            requests += records.len() as u64;
            let submissions = records.into_iter().map(|(_, submission)| submission).collect();
            self.store_once(&mut writer, from, last, submissions).await?;
            self.remove_up_to(last).await?;
            from = last;
        }
        if let Err(error) = writer.retire().await {
            tracing::debug!(%error, "the spool's writer stays behind until the settler tidies it up");
        }
        Ok(requests)
    }

    /// Stores requests in one commit together with the fact that they are stored.
    async fn store_once(
        &self,
        writer: &mut Writer,
        from: u64,
        last: u64,
        mut submissions: Vec<Submission>,
    ) -> Result<(), ReplayError> {
        let number = |record| i64::try_from(record).unwrap_or(i64::MAX);
        let at = SpoolPosition { spool: &self.spool, from: number(from), to: number(last) };
        loop {
            submissions.retain(|submission| !submission.events.is_empty());
            if submissions.is_empty() {
                return if self.store.advance_spool(at).await? { Ok(()) } else { Err(ReplayError::Overtaken) };
            }
            let claims: Vec<Vec<Claim>> = submissions.iter().map(Claim::all_of).collect();
            let all_claims: Vec<Claim> = claims.iter().flatten().cloned().collect();
            let events = submissions.iter().flat_map(|submission| &submission.events);
            match writer.ingest_once(events, &all_claims, Some(at)).await? {
                Ingested::Stored => return Ok(()),
                Ingested::Blocked { settled, expired } => {
                    let expired: HashSet<Hour> = expired.into_iter().collect();
                    let (gone, rest) = submissions
                        .into_iter()
                        .partition(|submission| submission.events.iter().any(|event| expired.contains(&event.hour())));
                    self.reject(gone, "the raw events of their hour are no longer kept").await?;
                    submissions = rest;
                    for hour in settled {
                        self.store.reopen(hour).await?;
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
            }
        }
    }

    async fn reject(&self, submissions: Vec<Submission>, reason: &'static str) -> Result<(), ReplayError> {
        if submissions.is_empty() {
            return Ok(());
        }
        tracing::error!(requests = submissions.len(), reason, file = %self.rejects.path().display(), "spooled requests cannot be stored");
        self.metrics.spool_rejected_requests.inc_by(submissions.len() as u64);
        let rejects = Arc::clone(&self.rejects);
        Ok(spawn_blocking(move || rejects.add(&submissions)).await??)
    }

    /// The oldest requests that go into one commit together.
    async fn oldest(&self, most: usize) -> Result<Vec<(u64, Submission)>, ReplayError> {
        let log = Arc::clone(&self.log);
        spawn_blocking(move || {
            let mut room = Room::new(MAX_BATCH_EVENTS);
            let mut taken = Vec::new();
            let mut unreadable = None;
            log.oldest(|number, record| match record::decode(record) {
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
                // What comes before it can be stored.
                Some(error) if taken.is_empty() => Err(error.into()),
                _ => Ok(taken),
            }
        })
        .await?
    }

    async fn remove_up_to(&self, last: u64) -> Result<(), ReplayError> {
        let log = Arc::clone(&self.log);
        spawn_blocking(move || log.remove_up_to(last)).await??;
        self.metrics.spooled_requests.set(self.log.len());
        Ok(())
    }
}
