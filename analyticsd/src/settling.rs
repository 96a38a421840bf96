//! Moves quiet hours to the hourly aggregate, in the background, in one replica at a time.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use db::{Applied, SettleOutcome, Settler, Shards, ShardsError, StoreError};
use model::{Hour, SiteHour, SiteId};
use tokio::time::{Instant, sleep};

use crate::telemetry::metrics::ShardMetrics;

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
/// How many days are united in a row.
const DAYS_AT_A_TIME: u32 = 100;
/// For how many sites of an hour the log says that they differ.
const MOST_DIFFERENCES_IN_LOG: usize = 10;

/// Settles hours of one of the shards that have been quiet for `quiet`. It never returns; it may be dropped at any time,
/// because every step is a transaction. The settler of the first also sees to what the shards have in common.
pub(crate) async fn settle_forever(shards: Shards, shard: usize, quiet: Duration, metrics: Arc<ShardMetrics>) {
    let store = shards[shard].clone();
    let mut common = (shard == 0).then(|| Common { shards, copied_changes: None });
    let mut failures = RecentFailures::default();
    let mut tidied: Option<Instant> = None;
    loop {
        match Settler::elect(&store).await {
            Ok(Some(settler)) => {
                tracing::info!(shard, "this replica is the settler now");
                metrics.settling.elected(true);
                let error =
                    settle_while_elected(&settler, quiet, &mut failures, &mut tidied, common.as_mut(), &metrics).await;
                metrics.settling.elected(false);
                tracing::warn!(shard, %error, "this replica is no longer the settler; another replica takes over");
            }
            Ok(None) => metrics.database.answered(),
            Err(error) => tracing::debug!(%error, "cannot take part in the election of a settler"),
        }
        sleep(ELECTION_PAUSE).await;
    }
}

/// Settles until the connection that makes this replica the settler is lost or cannot list hours; returns the cause.
async fn settle_while_elected(
    settler: &Settler,
    quiet: Duration,
    failures: &mut RecentFailures,
    tidied: &mut Option<Instant>,
    mut common: Option<&mut Common>,
    metrics: &ShardMetrics,
) -> StoreError {
    let mut mismatched = HashSet::new();
    let (mut unites_next, mut forgets_next) = (Instant::now(), Instant::now());
    // The first shard may have been restored from a backup while nobody was the settler.
    if let Some(common) = &mut common {
        common.copied_changes = None;
    }
    loop {
        if tidied.is_none_or(|at| at.elapsed() >= TIDY_PAUSE) {
            *tidied = Some(Instant::now());
            if let Err(error) = tidy(settler, common.as_deref()).await {
                metrics.settling.tidying_failures.add(1);
                tracing::error!(%error, "could not do the hourly cleanup; trying again in an hour");
            }
            // A shard may have been restored from a backup meanwhile.
            if let Some(common) = &mut common {
                common.copied_changes = None;
            }
        }
        if let Some(common) = &mut common {
            common.copy_sites().await;
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
        if !mismatched.is_empty() {
            let of_hour = |(hour, sites): &(Hour, Vec<SiteId>)| {
                let hour = *hour;
                sites.clone().into_iter().map(move |site| SiteHour { hour, site })
            };
            let expected: HashSet<SiteHour> = ripe.iter().flat_map(of_hour).chain(resting).collect();
            mismatched.retain(|it| expected.contains(it));
        }
        for (hour, sites) in ripe {
            match settler.settle(hour, &sites).await {
                Ok(outcomes) => {
                    metrics.database.answered();
                    for site in &sites {
                        mismatched.remove(&SiteHour { hour, site: *site });
                    }
                    for it in note(hour, &outcomes, metrics) {
                        mismatched.insert(it);
                        failures.note(it);
                    }
                }
                Err(error) if !settler.is_connected() => return error,
                Err(error) => {
                    metrics.settling.failures.add(1);
                    tracing::error!(%hour, sites = sites.len(), %error, "could not settle an hour; it stays open");
                    for site in sites {
                        failures.note(SiteHour { hour, site });
                    }
                    // The session may be the cause, as after an update of the extension.
                    return error;
                }
            }
        }
        if unites_next <= Instant::now()
            && let Err(error) = settler.unite_days(DAYS_AT_A_TIME).await
        {
            if !settler.is_connected() {
                return error;
            }
            metrics.settling.failures.add(1);
            unites_next = Instant::now() + SETBACK_PAUSE;
            tracing::error!(%error, "cannot unite the visitors of a day; ranges are told from its hours, trying again in a minute");
        }
        // A day with each look, so that the hours of the sites that are left never wait long.
        if forgets_next <= Instant::now()
            && let Err(error) = settler.forget_deleted_sites().await
        {
            if !settler.is_connected() {
                return error;
            }
            metrics.settling.forgetting_failures.add(1);
            forgets_next = Instant::now() + SETBACK_PAUSE;
            tracing::error!(%error, "cannot delete what is stored of deleted sites; trying again in a minute");
        }
        metrics.settling.succeeded();
        let differing = mismatched.len() as u64 + closed;
        metrics.settling.audit_mismatched_hours.set(i64::try_from(differing).unwrap_or(i64::MAX));
        sleep(quiet.clamp(LOOK_PAUSES.0, LOOK_PAUSES.1)).await;
    }
}

/// Counts and logs what came of settling an hour. Returns those whose counters differ from their raw events.
fn note(hour: Hour, outcomes: &[(SiteId, SettleOutcome)], metrics: &ShardMetrics) -> Vec<SiteHour> {
    let settled = outcomes.iter().filter(|(_, outcome)| *outcome == SettleOutcome::Settled).count();
    tracing::debug!(%hour, settled, of = outcomes.len(), "settled");
    metrics.settling.settled_hours.add(settled);
    let mut differing = Vec::new();
    for &(site, outcome) in outcomes {
        let SettleOutcome::Differs { counters, aggregate, visitors } = outcome else { continue };
        let it = SiteHour { hour, site };
        if differing.len() < MOST_DIFFERENCES_IN_LOG {
            tracing::error!(
                hour = %it, ?counters, ?aggregate, visitors,
                "the counters of an hour differ from its raw events, or from the set of its visitors; it stays open and is not settled. \
                 `analytics-cli verify --repair` rebuilds it"
            );
        }
        differing.push(it);
    }
    metrics.settling.audit_mismatches.add(differing.len());
    differing
}

/// Runs all steps even if one fails; returns the first failure.
async fn tidy(settler: &Settler, common: Option<&Common>) -> anyhow::Result<()> {
    let writers = settler.forget_idle_writers().await;
    let room = settler.make_room_ahead().await;
    let retention = match common {
        Some(common) => common.apply_retention().await,
        None => Ok(()),
    };
    writers.and(room)?;
    Ok(retention?)
}

/// What is set in the first shard for all of them.
struct Common {
    shards: Shards,
    /// How often the sites had changed when they were copied last.
    copied_changes: Option<i64>,
}

impl Common {
    async fn apply_retention(&self) -> Result<(), ShardsError> {
        let Applied { kept_from, due } = self.shards.apply_retention().await?;
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
        Ok(())
    }

    /// Lets the other shards know the sites of the first, if they changed. Until they do, a deleted site takes no event
    /// either: daemons ask the first.
    async fn copy_sites(&mut self) {
        if self.shards.len() == 1 {
            return;
        }
        let copied = async {
            let changes = self.shards.site_changes().await.map_err(|error| vec![error])?;
            if self.copied_changes != Some(changes) {
                self.shards.copy_sites().await?;
            }
            Ok::<_, Vec<ShardsError>>(changes)
        };
        match copied.await {
            Ok(changes) => self.copied_changes = Some(changes),
            Err(errors) => {
                for error in errors {
                    tracing::warn!(%error, "could not copy the sites to every shard; trying again");
                }
            }
        }
    }
}

/// The hours that could not be settled recently.
#[derive(Default)]
struct RecentFailures(HashMap<SiteHour, Instant>);

impl RecentFailures {
    fn note(&mut self, hour: SiteHour) {
        self.0.insert(hour, Instant::now());
    }

    fn current(&mut self) -> Vec<SiteHour> {
        self.0.retain(|_, at| at.elapsed() < SETBACK_PAUSE);
        self.0.keys().copied().collect()
    }
}
