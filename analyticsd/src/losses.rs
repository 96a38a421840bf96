use std::sync::Arc;

use db::{Loss, Store};

use crate::metrics::Metrics;

/// Tells all who may want to know that the database lost what it had acknowledged: the log, the metrics and, in the database, `doctor`.
pub(crate) fn report(loss: Loss, store: &Store, metrics: &Arc<Metrics>) {
    let Loss { writer, batches, events, at_least } = loss;
    tracing::error!(
        writer,
        batches,
        events,
        at_least,
        "the database lost events that it had acknowledged, as when a standby that lagged behind is promoted, or a backup is restored"
    );
    metrics.losses.batches.add(usize::try_from(batches).unwrap_or(usize::MAX));
    metrics.losses.events.add(usize::try_from(events).unwrap_or(usize::MAX));
    let store = store.clone();
    tokio::spawn(async move {
        if let Err(error) = store.note_loss(loss).await {
            tracing::error!(%error, writer, batches, events, "could not note the loss in the database, where doctor would find it");
        }
    });
}
