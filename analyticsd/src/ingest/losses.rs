//! Notices when the database lost events that it had acknowledged, for example when a standby that lagged behind is
//! promoted, or a backup is restored.

use std::{sync::Arc, time::Duration};

use db::{Acknowledged, Loss, Store, Writer};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::sleep,
};

use tracing::Instrument;

use crate::process::tasks::Tasks;
use crate::telemetry::metrics::{LaneName, ShardMetrics};

/// The most writers' rows that wait to be checked. A lane leaves one when the database becomes unavailable, and few
/// during an outage.
const MAX_WAITING: usize = 64;
/// The pause between two tries of a check doubles each time, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Checks whether the database still has the events of writers that were left. Cheap to clone; the task ends with the
/// last clone.
#[derive(Clone)]
pub(crate) struct Losses {
    store: Store,
    metrics: Arc<ShardMetrics>,
    left: mpsc::Sender<Acknowledged>,
}

impl Losses {
    /// Starts the task. It runs one check at a time, so that a hanging database gets few of them.
    pub(crate) fn start(store: &Store, metrics: &Arc<ShardMetrics>, tasks: &Tasks) -> Self {
        let (left, waiting) = mpsc::channel(MAX_WAITING);
        let looking = look_at_each(waiting, store.clone(), Arc::clone(metrics));
        tasks.spawn_background("looking for lost commits", looking.instrument(metrics.span()));
        Self { store: store.clone(), metrics: Arc::clone(metrics), left }
    }

    /// Checks, as soon as the database answers, whether it has the events of a writer, if one was left.
    pub(crate) fn look_for(&self, left: Option<Acknowledged>) {
        // When the daemon stops, the task is gone.
        if let Some(Err(TrySendError::Full(_))) = left.map(|acknowledged| self.left.try_send(acknowledged)) {
            tracing::warn!(
                most = MAX_WAITING,
                "too many writers' rows wait to be checked; a loss in one of them will not be reported"
            );
        }
    }

    /// Ends a writer, and reports its events that the database lost.
    pub(crate) async fn retire(&self, writer: Writer, lane: LaneName) {
        match writer.retire().await {
            Ok(Some(loss)) => self.report(loss).await,
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(lane = lane.name(), %error, "the writer's row stays until the settler removes it");
            }
        }
    }

    pub(crate) async fn report(&self, loss: Loss) {
        report(loss, &self.store, &self.metrics).await;
    }
}

async fn look_at_each(mut waiting: mpsc::Receiver<Acknowledged>, store: Store, metrics: Arc<ShardMetrics>) {
    while let Some(acknowledged) = waiting.recv().await {
        if let Some(loss) = look(&acknowledged, &store).await {
            report(loss, &store, &metrics).await;
        }
    }
}

async fn look(acknowledged: &Acknowledged, store: &Store) -> Option<Loss> {
    let mut pause = FIRST_PAUSE;
    loop {
        match acknowledged.missing(store).await {
            Ok(loss) => return loss,
            Err(error) => tracing::debug!(%error, "could not check whether the database lost events; trying again"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Reports a loss to the log, the metrics and, through the database, `doctor`.
async fn report(loss: Loss, store: &Store, metrics: &ShardMetrics) {
    let Loss { writer, batches, events, at_least } = loss;
    tracing::error!(
        writer,
        batches,
        events,
        at_least,
        "the database lost events that it had acknowledged; this happens when a standby that lagged behind is promoted, or a backup is restored"
    );
    metrics.losses.batches.add(usize::try_from(batches).unwrap_or(usize::MAX));
    metrics.losses.events.add(usize::try_from(events).unwrap_or(usize::MAX));
    if let Err(error) = store.note_loss(loss).await {
        tracing::error!(%error, writer, batches, events, "the loss could not be recorded in the database, so `analytics-cli doctor` will not report it");
    }
}
