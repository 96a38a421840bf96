//! Keeps events on this machine's disk while the database is away, for those who start the daemon with `--spool`: appended durably
//! before the answer, which is 202 and not 204, and stored exactly once when the database is back.

mod error;
mod file;
mod log;
mod names;
mod record;
mod rejects;
mod replay;

use std::{path::Path, sync::Arc};

use db::Store;
use tokio::{
    sync::{Notify, mpsc},
    task::spawn_blocking,
};

pub(crate) use error::SpoolError;
use log::SpoolLog;

use crate::{
    ingest::{
        job::{Accepted, IngestError, Job, answer_all},
        losses::Losses,
    },
    process::tasks::Tasks,
    telemetry::metrics::{Metrics, Queued},
};

/// The most requests that wait to be written.
const QUEUE_LENGTH: usize = 16_384;
/// The most requests that are written at once.
const MAX_APPEND: usize = 4_096;

/// The way into the spool. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SpoolLane {
    jobs: mpsc::Sender<Job>,
    log: Arc<SpoolLog>,
}

impl SpoolLane {
    /// Opens the spool in a folder, which is made if it is not there, and starts to store what it holds from an earlier run.
    ///
    /// `max_bytes` bounds what it holds; beyond it requests are refused. The task that appends ends when the last [`SpoolLane`] is
    /// dropped; the task that stores never ends and can be cut anywhere.
    pub(crate) fn start(
        dir: &Path,
        max_bytes: u64,
        store: &Store,
        metrics: &Arc<Metrics>,
        losses: &Losses,
        tasks: &Tasks,
    ) -> Result<Self, SpoolError> {
        let log = Arc::new(SpoolLog::open(dir, max_bytes)?);
        let appended = Arc::new(Notify::new());
        log::watch(&log, max_bytes, metrics);
        tasks.spawn_background(
            "the replay of the spool",
            replay::replay_forever(
                store.clone(),
                Arc::clone(&log),
                Arc::clone(&appended),
                rejects::Rejects::in_folder(dir),
                Arc::clone(metrics),
                losses.clone(),
            ),
        );
        let (jobs, queue) = mpsc::channel(QUEUE_LENGTH);
        let waiting = jobs.downgrade();
        metrics.watch_queue("spool", move || waiting.upgrade().map(|jobs| Queued::of(&jobs)));
        tasks.spawn_lane(append_all(queue, Arc::clone(&log), appended));
        Ok(Self { jobs, log })
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.len() == 0
    }

    /// Answers the job once it is on disk, or that it could not be kept.
    pub(crate) fn keep(&self, job: Job) {
        if let Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) =
            self.jobs.try_send(job)
        {
            job.answer(Err(IngestError::TooBusy));
        }
    }
}

/// Appends all that waits with one write to the disk, while the next gathers.
async fn append_all(mut queue: mpsc::Receiver<Job>, log: Arc<SpoolLog>, appended: Arc<Notify>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, MAX_APPEND).await > 0 {
        let jobs = std::mem::take(&mut waiting);
        let records: Vec<Vec<u8>> = jobs.iter().map(|job| record::encode(&job.submission)).collect();
        let appending = spawn_blocking({
            let log = Arc::clone(&log);
            move || log.append(&records)
        });
        match appending.await {
            Ok(Ok(())) => {
                answer_all(jobs, Ok(Accepted::Spooled));
                appended.notify_one();
            }
            Ok(Err(error)) => {
                tracing::error!(%error, requests = jobs.len(), "could not spool");
                let undecided = matches!(error, SpoolError::Undecided { .. });
                answer_all(jobs, Err(if undecided { IngestError::Unknown } else { IngestError::Unavailable }));
                // They may be there after all.
                appended.notify_one();
            }
            Err(error) => {
                tracing::error!(%error, requests = jobs.len(), "the spool failed, and may have kept them or not");
                answer_all(jobs, Err(IngestError::Unknown));
            }
        }
    }
}
