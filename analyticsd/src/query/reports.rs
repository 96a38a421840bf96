//! Queries for ranges of hours. They have connections of their own, so that a long query never delays an event, and the
//! number of waiting queries is limited.

use std::{
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use db::{PeriodCounts, RangeCounts, Shards, ShardsError, Store, StoreOptions};
use model::{Hour, SiteId, SourceStanding};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    query::counts::ReadError,
    telemetry::{
        metrics::{Metrics, Queued},
        outage::Outage,
    },
};

/// The most reports that are read at a time.
const CONNECTIONS: usize = 2;
/// The most reports that are read or wait.
const PLACES: usize = 64;
/// The longest that one waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads reports.
pub(crate) struct Reports {
    shards: Shards,
    places: Semaphore,
    turns: Semaphore,
    outage: Outage,
    metrics: Arc<Metrics>,
}

impl Reports {
    /// Prepares to connect; nothing is opened yet.
    pub(crate) fn new(shards: &Shards, metrics: &Arc<Metrics>) -> Self {
        let options = StoreOptions {
            application_name: "analyticsd reports".to_owned(),
            max_connections: CONNECTIONS,
            ..StoreOptions::default()
        };
        Self {
            shards: shards.with_options(&options),
            places: Semaphore::new(PLACES),
            turns: Semaphore::new(CONNECTIONS),
            outage: Outage::default(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Adds the number of reports under way, and of their connections, to the metrics.
    pub(crate) fn watch(self: &Arc<Self>) {
        let reports = Arc::downgrade(self);
        self.metrics.watched.queue(vec![("queue", "reports")], move || {
            let waiting = PLACES - reports.upgrade()?.places.available_permits();
            Some(Queued { waiting, limit: PLACES })
        });
        for (store, metrics) in self.shards.iter().zip(&self.metrics.shards) {
            metrics.watch_pool("reports", store, Store::pool_use);
        }
    }

    /// Every hour of a range of a site and its unique users, at one instant.
    pub(crate) async fn range_counts(
        &self,
        site: SiteId,
        range: &RangeInclusive<Hour>,
    ) -> Result<RangeCounts, ReadError> {
        self.read(self.shards.range_counts(site, range)).await
    }

    /// What periods of a site say that follow one another, at one instant.
    pub(crate) async fn period_counts(
        &self,
        site: SiteId,
        periods: &[RangeInclusive<Hour>],
    ) -> Result<PeriodCounts, ReadError> {
        self.read(self.shards.period_counts(site, periods)).await
    }

    /// Where the sources of a site stand whose names begin so.
    pub(crate) async fn sources(&self, site: SiteId, prefix: &str) -> Result<Vec<(String, SourceStanding)>, ReadError> {
        self.read(self.shards.sources(site, prefix)).await
    }

    /// The salt for names of visitors without a script.
    pub(crate) async fn visitor_salt(&self) -> Result<String, ReadError> {
        self.read(self.shards.visitor_salt()).await
    }

    async fn read<T>(&self, query: impl Future<Output = Result<T, ShardsError>>) -> Result<T, ReadError> {
        let _place = self.places.try_acquire().map_err(|_| ReadError::QueueFull)?;
        // Whoever waited for a connection instead would take a busy server for one that is away.
        let _turn = timeout(PATIENCE, self.turns.acquire()).await.map_err(|_| ReadError::QueueFull)?;
        let began = Instant::now();
        let answer = query.await;
        self.metrics.reports.seconds.observe_since(began);
        match answer {
            Ok(answer) => {
                if self.outage.ends() {
                    tracing::info!("reports can be read again");
                }
                Ok(answer)
            }
            Err(error) => {
                self.metrics.reports.failures.add(1);
                if self.outage.begins() {
                    tracing::error!(%error, "reports cannot be read; the log says when they can be read again");
                }
                Err(ReadError::Unavailable(error.shard().filter(|_| self.shards.len() > 1)))
            }
        }
    }
}
