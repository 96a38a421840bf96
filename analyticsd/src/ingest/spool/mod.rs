//! With `--spool`, keeps events on this machine's disk while the database is unavailable. An event is written durably
//! before the answer, which is 202 and not 204, and stored exactly once when the database is back.

mod error;
mod file;
mod log;
mod names;
mod record;
mod rejects;
mod replay;
mod shards;
mod synced_file;

use std::{path::Path, sync::Arc};

use db::Store;
use tokio::{
    sync::{Notify, mpsc},
    task::spawn_blocking,
};
use tracing::Instrument;

pub(crate) use error::SpoolError;
use log::{SpoolBudget, SpoolLog};
pub(crate) use shards::ShardSpools;

use crate::{
    ingest::{
        job::{Accepted, IngestError, Job, answer_all},
        losses::Losses,
    },
    process::tasks::Tasks,
    telemetry::metrics::{Queued, ShardMetrics},
};

/// The most requests that wait to be written to the disk.
const QUEUE_LENGTH: usize = 16_384;
/// The most requests of one write.
const MAX_APPEND: usize = 4_096;

/// The queue into the spool. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SpoolLane {
    jobs: mpsc::Sender<Job>,
    log: Arc<SpoolLog>,
}

impl SpoolLane {
    /// Opens the spool of a shard in a folder, creates the folder if needed, and starts to store the requests of an earlier run.
    ///
    /// `budget` bounds the size of all; beyond it requests are refused. The task that appends ends when the last
    /// [`SpoolLane`] is dropped. The task that stores never ends and can be aborted anywhere.
    fn start(
        dir: &Path,
        budget: &Arc<SpoolBudget>,
        store: &Store,
        metrics: &Arc<ShardMetrics>,
        losses: &Losses,
        tasks: &Tasks,
    ) -> Result<Self, SpoolError> {
        let log = Arc::new(SpoolLog::open(dir, budget)?);
        let appended = Arc::new(Notify::new());
        log::watch(&log, metrics);
        tasks.spawn_background(
            "the replay of the spool",
            replay::replay_forever(
                store.clone(),
                Arc::clone(&log),
                Arc::clone(&appended),
                rejects::Rejects::in_folder(dir),
                Arc::clone(metrics),
                losses.clone(),
            )
            .instrument(metrics.span()),
        );
        let (jobs, queue) = mpsc::channel(QUEUE_LENGTH);
        let waiting = jobs.downgrade();
        metrics.watch_queue("spool", move || waiting.upgrade().map(|jobs| Queued::of(&jobs)));
        tasks.spawn_lane(append_all(queue, Arc::clone(&log), appended).instrument(metrics.span()));
        Ok(Self { jobs, log })
    }

    /// Whether no request is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.len() == 0
    }

    /// Answers the job once it is on disk, or with the reason why it is not. A part of a source is not kept: its sender has it, and
    /// sends it again.
    pub(crate) fn keep(&self, job: Job) {
        if job.submission.step.is_some() {
            return job.answer(Err(IngestError::Unavailable));
        }
        if let Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) =
            self.jobs.try_send(job)
        {
            job.answer(Err(IngestError::TooBusy));
        }
    }
}

/// Appends all waiting requests with one write; meanwhile the next ones gather.
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
                answer_all(jobs, &Ok(Accepted::Spooled));
                appended.notify_one();
            }
            Ok(Err(error)) => {
                tracing::error!(%error, requests = jobs.len(), "could not write to the spool");
                let undecided = matches!(error, SpoolError::Undecided { .. });
                answer_all(jobs, &Err(if undecided { IngestError::Unknown } else { IngestError::Unavailable }));
                // The requests may be in the file after all.
                appended.notify_one();
            }
            Err(error) => {
                tracing::error!(%error, requests = jobs.len(), "the task that writes the spool failed; the requests may be in the spool or not");
                answer_all(jobs, &Err(IngestError::Unknown));
            }
        }
    }
}
