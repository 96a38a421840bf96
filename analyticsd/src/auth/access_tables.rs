use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwapOption, Guard};
use chrono::Utc;
use db::{AccessTokens, CreatedSite, LiveSites, Shards, ShardsError, Sites, Store, StoreError, StoreOptions};
use model::SiteName;
use thiserror::Error;
use tokio::sync::Mutex;

use super::{
    access_cache::{AccessCache, Recalled},
    freshness::{ANONYMOUS_PATIENCE, Freshness},
    known_sites::KnownSites,
    known_tokens::KnownTokens,
};
use crate::telemetry::metrics::Metrics;

/// How often the table is read. A new or revoked token takes effect after this time in every replica.
const PERIOD: Duration = Duration::from_millis(500);
/// How long opening its connection may take: six round trips with a password.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why no site is made.
#[derive(Debug, Error)]
pub(super) enum MakeSiteError {
    #[error(transparent)]
    Shards(#[from] ShardsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The daemon's copy of the tables of tokens and of sites. Requests read it without a lock; each change in the database replaces it
/// as a whole.
pub(crate) struct AccessTables {
    shards: Shards,
    /// `None` until the tokens were read for the first time.
    known: ArcSwapOption<KnownTokens>,
    /// Likewise.
    sites: ArcSwapOption<KnownSites>,
    /// Two readers at once could put an older table in the place of a newer one.
    reading: Mutex<()>,
    freshness: Freshness,
    kept: Option<AccessCache>,
    metrics: Arc<Metrics>,
}

impl AccessTables {
    /// Prepares a connection of its own to each shard, so that a busy daemon still notices revoked tokens; nothing is opened yet.
    /// Tokens are valid for `valid_for` after they were last read. They are also written to `folder`, if there is one,
    /// for a start without the database: see [`AccessTables::recall`].
    pub(crate) fn new(shards: &Shards, valid_for: Duration, folder: Option<&Path>, metrics: &Arc<Metrics>) -> Self {
        let options = StoreOptions {
            application_name: "analyticsd access".to_owned(),
            max_connections: 1,
            works_on_raw_events: false,
            connect_timeout: CONNECT_PATIENCE,
            statement_timeout: PATIENCE,
            ..StoreOptions::default()
        };
        Self {
            shards: shards.with_options(&options),
            known: ArcSwapOption::empty(),
            sites: ArcSwapOption::empty(),
            reading: Mutex::default(),
            freshness: Freshness::new(valid_for),
            kept: folder.map(AccessCache::in_folder),
            metrics: Arc::clone(metrics),
        }
    }

    /// Reads the tables if they changed since the last time. [`AccessTables::keep`] or [`AccessTables::follow`] writes the result to
    /// disk.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reading.lock().await;
        let before = self.known.load_full();
        let tokens = AccessTokens(self.store()).changed_since(before.as_ref().map(|known| known.changes)).await?;
        // Read behind the tokens and known before them, so that a token finds the sites that it is for.
        let known_sites = self.sites.load().as_ref().map(|sites| sites.changes);
        let sites = Sites(self.store()).changed_since(known_sites).await?;
        if let Some(kept) = &self.kept {
            kept.update(tokens.as_ref(), sites.as_ref(), Utc::now());
        }
        if let Some(sites) = sites {
            self.know(sites);
        }
        if let Some(tokens) = tokens {
            let ever = before.is_some_and(|known| known.ever);
            self.known.store(Some(Arc::new(KnownTokens::new(tokens, ever))));
        }
        self.freshness.read(Instant::now());
        Ok(())
    }

    fn know(&self, sites: LiveSites) {
        self.metrics.sites.are(sites.sites.iter().map(|site| (site.id, &site.name)));
        self.sites.store(Some(Arc::new(sites.into())));
    }

    /// The tables are in the first.
    fn store(&self) -> &Store {
        self.shards.first()
    }

    /// Makes a site, unless there are `most` already, and reads the table.
    pub(super) async fn make_site(&self, name: &SiteName, most: u32) -> Result<CreatedSite, MakeSiteError> {
        let created = self.shards.create_site(name, Some(most)).await?;
        self.refresh().await?;
        Ok(created)
    }

    /// Writes the tokens to disk for a start without the database. [`AccessTables::follow`] logs a failure and tries again.
    pub(crate) async fn keep(&self) {
        if let Some(kept) = &self.kept {
            let _ = kept.write().await;
        }
    }

    /// Reads the tokens that the last run wrote to disk, when the database cannot be reached. If that fails, requests
    /// that need a token are refused.
    pub(crate) fn recall(&self) {
        match self.kept.as_ref().map(AccessCache::read) {
            Some(Ok(Some(Recalled { tokens, sites, read_at }))) => {
                // A time in the future comes from a clock that was corrected since.
                let age = (Utc::now() - read_at).to_std().unwrap_or_default();
                self.freshness.recalled(Instant::now(), age);
                self.know(sites);
                self.known.store(Some(Arc::new(KnownTokens::new(tokens, false))));
                if age >= self.freshness.valid_for() {
                    tracing::warn!(
                        %read_at,
                        "the access tokens of the last run were read longer ago than --tokens-valid-for allows; \
                         requests that need a token are refused until the database answers"
                    );
                }
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the access tokens of the last run cannot be read; requests that need a token are refused until the database answers");
            }
            Some(Ok(None)) => tracing::warn!(
                "the access tokens are not known until the database answers; requests that need a token are refused"
            ),
            None => {}
        }
    }

    /// Follows the table of tokens, and writes changes to disk. During an outage of the database the last tokens stay
    /// valid for a time. Never returns.
    pub(crate) async fn follow(&self) {
        let keep = async {
            if let Some(kept) = &self.kept {
                kept.follow().await;
            }
        };
        tokio::join!(self.look(), keep);
    }

    async fn look(&self) {
        let mut is_away = false;
        loop {
            match self.refresh().await {
                Ok(()) if is_away => {
                    is_away = false;
                    tracing::info!("the access tokens can be read again");
                }
                Err(error) if !is_away => {
                    is_away = true;
                    tracing::warn!(
                        %error,
                        "the access tokens cannot be read; the last known ones stay valid for {}, and requests without \
                         a token are refused after {}, unless --allow-anonymous is set",
                        humantime::format_duration(self.freshness.valid_for()),
                        humantime::format_duration(ANONYMOUS_PATIENCE)
                    );
                }
                _ => {}
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Whether a token ever existed. `None` if the tokens were not read yet.
    pub(crate) fn ever(&self) -> Option<bool> {
        self.known.load().as_ref().map(|known| known.ever)
    }

    pub(super) fn known(&self) -> Guard<Option<Arc<KnownTokens>>> {
        self.known.load()
    }

    pub(super) fn sites(&self) -> Guard<Option<Arc<KnownSites>>> {
        self.sites.load()
    }

    pub(super) fn freshness(&self) -> &Freshness {
        &self.freshness
    }
}
