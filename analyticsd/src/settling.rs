//! Moves quiet hours to the hourly aggregate, in the background, in one replica at a time.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use db::{Applied, Retention, SettleOutcome, Settler, Store, StoreError};
use model::Hour;
use tokio::time::{Instant, sleep};

use crate::telemetry::metrics::Metrics;

/// How often a replica that is not the settler tries to become it. So a new settler takes over a second after the last
/// one is gone.
const ELECTION_PAUSE: Duration = Duration::from_secs(1);
/// How often the settler looks for quiet hours: as often as hours become quiet, within these bounds.
const LOOK_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often the settler deletes old raw events and rows of writers that are gone, and makes partitions ahead.
const TIDY_PAUSE: Duration = Duration::from_hours(1);
/// How long to wait before an hour that could not be settled is tried again, so that it delays neither the other hours
/// nor the database.
const SETBACK_PAUSE: Duration = Duration::from_mins(1);
/// How many hours are settled in a row before the settler looks again.
const HOURS_AT_A_TIME: u32 = 100;

/// Settles hours that have been quiet for `quiet`. It never returns; it may be dropped at any time, because every step
/// is a transaction.
pub(crate) async fn settle_forever(store: Store, quiet: Duration, metrics: Arc<Metrics>) {
    let mut failures = RecentFailures::default();
    let mut tidied: Option<Instant> = None;
    loop {
        match Settler::elect(&store).await {
            Ok(Some(settler)) => {
                tracing::info!("this replica is the settler now");
                metrics.settling.elected(true);
                let error = settle_while_elected(&store, &settler, quiet, &mut failures, &mut tidied, &metrics).await;
                metrics.settling.elected(false);
                tracing::warn!(%error, "this replica is no longer the settler; another replica takes over");
            }
            Ok(None) => metrics.database.answered(),
            Err(error) => tracing::debug!(%error, "cannot take part in the election of a settler"),
        }
        sleep(ELECTION_PAUSE).await;
    }
}

/// Settles until the connection that makes this replica the settler is lost or cannot list hours; returns the cause.
async fn settle_while_elected(
    store: &Store,
    settler: &Settler,
    quiet: Duration,
    failures: &mut RecentFailures,
    tidied: &mut Option<Instant>,
    metrics: &Metrics,
) -> StoreError {
    let mut mismatched = HashSet::new();
    loop {
        if tidied.is_none_or(|at| at.elapsed() >= TIDY_PAUSE) {
            *tidied = Some(Instant::now());
            if let Err(error) = tidy(store, settler).await {
                metrics.settling.tidying_failures.add(1);
                tracing::error!(%error, "could not do the hourly cleanup; trying again in an hour");
            }
        }
        let resting = failures.current();
        let ripe = match settler.ripe_hours(quiet, &resting, HOURS_AT_A_TIME).await {
            Ok(ripe) => ripe,
            Err(error) => return error,
        };
        let closed = match settler.backlog(quiet).await {
            Ok(backlog) => {
                metrics.settling.saw(backlog);
                backlog.closed_hours
            }
            Err(error) => return error,
        };
        metrics.database.answered();
        // An hour that is no longer ripe was repaired, or has new events and is compared again when it is quiet.
        mismatched.retain(|hour| resting.contains(hour) || ripe.contains(hour));
        for hour in ripe {
            let outcome = settler.settle(hour).await;
            if outcome.is_ok() {
                metrics.database.answered();
            }
            match outcome {
                Ok(SettleOutcome::Settled) => {
                    tracing::debug!(%hour, "settled");
                    metrics.settling.settled_hours.add(1);
                    mismatched.remove(&hour);
                }
                Ok(SettleOutcome::NotOpen | SettleOutcome::Busy) => {
                    mismatched.remove(&hour);
                }
                Ok(SettleOutcome::Differs { counters, aggregate }) => {
                    tracing::error!(
                        %hour, ?counters, ?aggregate,
                        "the counters of an hour differ from its raw events; it stays open and is not settled. \
                         `analytics-cli verify --repair` rebuilds it"
                    );
                    metrics.settling.audit_mismatches.add(1);
                    mismatched.insert(hour);
                    failures.note(hour);
                }
                Err(error) if !settler.is_connected() => return error,
                Err(error) => {
                    metrics.settling.failures.add(1);
                    tracing::error!(%hour, %error, "could not settle an hour; it stays open");
                    failures.note(hour);
                    // The session may be the cause, as after an update of the extension.
                    return error;
                }
            }
        }
        metrics.settling.succeeded();
        let differing = mismatched.len() as u64 + closed;
        metrics.settling.audit_mismatched_hours.set(i64::try_from(differing).unwrap_or(i64::MAX));
        sleep(quiet.clamp(LOOK_PAUSES.0, LOOK_PAUSES.1)).await;
    }
}

/// Runs all three steps even if one fails; returns the first failure.
async fn tidy(store: &Store, settler: &Settler) -> Result<(), StoreError> {
    let writers = settler.forget_idle_writers().await;
    let room = settler.make_room_ahead().await;
    let retention = Retention::apply(store).await.map(|Applied { kept_from, due }| {
        tracing::debug!(%kept_from, "applied the retention setting");
        if let Some(from) = due.in_the_future() {
            tracing::error!(
                accepts_from = %from,
                "current events are refused, because a wrong clock moved retention into the future. `analytics-cli \
                 retention confirm` moves it back"
            );
        } else if let Some(wanted) = due.unconfirmed() {
            tracing::error!(
                due_before = ?due.before, %wanted,
                "raw events of more than two days are due for deletion at once. A wrong clock may be the cause, so \
                 none of them is deleted. If the clock is right, run `analytics-cli retention confirm`"
            );
        }
    });
    writers.and(room).and(retention)
}

/// The hours that could not be settled recently.
#[derive(Default)]
struct RecentFailures(HashMap<Hour, Instant>);

impl RecentFailures {
    fn note(&mut self, hour: Hour) {
        self.0.insert(hour, Instant::now());
    }

    fn current(&mut self) -> Vec<Hour> {
        self.0.retain(|_, at| at.elapsed() < SETBACK_PAUSE);
        self.0.keys().copied().collect()
    }
}
