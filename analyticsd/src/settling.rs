//! Moves quiet hours to the hourly aggregate, in the background, in one replica at a time.

use std::{collections::HashMap, time::Duration};

use db::{Retention, SettleOutcome, Settler, Store, StoreError};
use model::Hour;
use tokio::time::{Instant, sleep};

/// How often a replica that is not the settler tries to become it. It is the settler a second after the last one has gone.
const ELECTION_PAUSE: Duration = Duration::from_secs(1);
/// How often the settler looks for quiet hours: as often as hours become quiet, within these bounds.
const LOOK_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often old raw events are deleted, and rows of writers long gone.
const TIDY_PAUSE: Duration = Duration::from_hours(1);
/// How many hours are taken up at a time.
const HOURS_AT_A_TIME: u32 = 100;

/// Settles hours that have been quiet for `quiet`, for ever. To be dropped to stop: every step is a transaction.
pub async fn settle_forever(store: Store, quiet: Duration) {
    loop {
        match Settler::elect(&store).await {
            Ok(Some(settler)) => {
                tracing::info!("this replica settles hours now");
                if let Err(error) = settle_while_elected(&store, &settler, quiet).await {
                    tracing::warn!(%error, "this replica stops settling hours; whichever is first goes on");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "cannot take part in the election of a settler"),
        }
        sleep(ELECTION_PAUSE).await;
    }
}

async fn settle_while_elected(store: &Store, settler: &Settler, quiet: Duration) -> Result<(), StoreError> {
    let mut reported: HashMap<Hour, SettleOutcome> = HashMap::new();
    let mut tidied: Option<Instant> = None;
    loop {
        if tidied.is_none_or(|at| at.elapsed() >= TIDY_PAUSE) {
            settler.forget_idle_writers().await?;
            let accepts_from = Retention::apply(store).await?;
            tracing::debug!(%accepts_from, "applied the retention setting");
            tidied = Some(Instant::now());
        }
        for hour in settler.ripe_hours(quiet, HOURS_AT_A_TIME).await? {
            let outcome = settler.settle(hour).await?;
            match outcome {
                SettleOutcome::Settled => {
                    reported.remove(&hour);
                    tracing::debug!(%hour, "settled");
                }
                SettleOutcome::NotOpen | SettleOutcome::Busy => {}
                SettleOutcome::Differs { counters, aggregate } => {
                    // Said once for each difference, not every few seconds.
                    if reported.insert(hour, outcome) != Some(outcome) {
                        tracing::error!(
                            %hour, ?counters, ?aggregate,
                            "the counters of an hour differ from its raw events; it stays open and is not settled"
                        );
                    }
                }
            }
        }
        sleep(quiet.clamp(LOOK_PAUSES.0, LOOK_PAUSES.1)).await;
    }
}
