//! Which site a request is for: one that is there, that it may use, whose rate it keeps to, or that is made for it.

use std::{sync::Arc, time::Instant};

use db::CreatedSite;
use model::{SiteId, SiteList, SiteName};
use thiserror::Error;

use super::{
    AccessConfig, Limit, RateLimited,
    access_tables::AccessTables,
    known_sites::{SiteAccess, SiteUse},
    rate_limit::{Owner, RateLimiter},
};
use crate::telemetry::metrics::Metrics;

/// Why a request cannot use the site that it names, or needs to name one.
#[derive(Debug, Error)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(crate) enum SiteRefusal {
    /// There is no such site. Only a client that may use all sites is told.
    #[error("there is no site {0}")]
    Unknown(SiteName),
    /// It takes no events.
    #[error("the site is archived")]
    Archived,
    /// The client may use several sites and names none.
    #[error("no site is named")]
    NotNamed,
    /// The client may not use it, or there is none: which of the two is not said.
    #[error("the site may not be used")]
    NotAllowed,
    /// The sites were not read yet.
    #[error("the sites are not known yet")]
    NotKnownYet,
    /// It would be a new one, and there are as many as events may make.
    #[error("there is no site {0}, and events may make one only while there are fewer than {1}")]
    TooMany(SiteName, u32),
    /// It would be a new one, and the database does not answer.
    #[error("the site cannot be made, since the database does not answer")]
    NotMade,
    #[error("the site gets more requests than are accepted")]
    RateLimited(RateLimited),
}

impl SiteRefusal {
    /// Whether the same may be accepted a moment later.
    #[cfg(feature = "kafka")]
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::NotKnownYet | Self::NotMade | Self::RateLimited(_))
    }
}

/// What all requests share that use sites.
pub(crate) struct Sites {
    tables: Arc<AccessTables>,
    per_site: Option<RateLimiter>,
    /// How many there may be for events to make another.
    most_for_new: u32,
    began: Instant,
    metrics: Arc<Metrics>,
}

impl Sites {
    pub(crate) fn new(tables: Arc<AccessTables>, config: &AccessConfig, metrics: &Arc<Metrics>) -> Self {
        let per_site = config.rate_per_site.map(RateLimiter::new);
        Self { tables, per_site, most_for_new: config.new_sites, began: Instant::now(), metrics: Arc::clone(metrics) }
    }

    /// The sites that one request may use; all without a limit.
    pub(crate) fn of_request(self: &Arc<Self>, access: Option<SiteAccess>) -> RequestSites {
        RequestSites { sites: Arc::clone(self), access: access.unwrap_or(SiteAccess::All) }
    }

    /// All sites, and those that events make if the settings let them, for what the operator has set up.
    #[cfg(feature = "kafka")]
    pub(crate) fn of_operator(self: &Arc<Self>) -> RequestSites {
        let access = if self.most_for_new > 0 { SiteAccess::AllAndNew } else { SiteAccess::All };
        RequestSites { sites: Arc::clone(self), access }
    }

    async fn make(&self, name: &SiteName) -> Result<(), SiteRefusal> {
        let too_many = || SiteRefusal::TooMany(name.clone(), self.most_for_new);
        let there_are = self.tables.sites().as_ref().map_or(0, |sites| sites.len());
        if there_are >= usize::try_from(self.most_for_new).unwrap_or(usize::MAX) {
            return Err(too_many());
        }
        let made = self.tables.make_site(name, self.most_for_new).await.map_err(|error| {
            tracing::debug!(%name, %error, "cannot make a site that an event names");
            SiteRefusal::NotMade
        });
        match made? {
            CreatedSite::Created(_) => tracing::info!(%name, "made a site, because an event names it"),
            CreatedSite::Exists => {}
            CreatedSite::TooMany => return Err(too_many()),
        }
        Ok(())
    }
}

/// The sites that one request may use.
#[derive(Clone)]
pub(crate) struct RequestSites {
    sites: Arc<Sites>,
    access: SiteAccess,
}

impl RequestSites {
    /// The site that a request reads: the one that it names, or may use without a name.
    pub(crate) fn to_read(&self, name: Option<&SiteName>) -> Result<SiteId, SiteRefusal> {
        let site = self.find(name, SiteUse::Read)?;
        self.keep_to_rate(site, SiteUse::Read)?;
        self.sites.metrics.sites.read(site);
        Ok(site)
    }

    /// The site that an event is for. It may be made for it.
    pub(crate) async fn to_write(&self, name: Option<&SiteName>) -> Result<SiteId, SiteRefusal> {
        let site = self.of_source(name).await?;
        self.keep_to_rate(site, SiteUse::Write)?;
        Ok(site)
    }

    /// The site that the source of a batch belongs to. It may be made for it.
    pub(crate) async fn of_source(&self, name: Option<&SiteName>) -> Result<SiteId, SiteRefusal> {
        match self.find(name, SiteUse::Write) {
            // In a box, since every request would carry the room of what hardly one does.
            Err(SiteRefusal::Unknown(name)) if self.may_make() => Box::pin(self.make(name)).await,
            found => found,
        }
    }

    /// The same; none where there is nothing of it because events have yet to make it.
    pub(crate) fn of_sources(&self, name: Option<&SiteName>) -> Result<Option<SiteId>, SiteRefusal> {
        match self.find(name, SiteUse::Write) {
            Err(SiteRefusal::Unknown(_)) if self.may_make() => Ok(None),
            found => found.map(Some),
        }
    }

    pub(super) fn find(&self, name: Option<&SiteName>, purpose: SiteUse) -> Result<SiteId, SiteRefusal> {
        // What most requests ask for needs no look at what is known.
        if name.is_none() && self.access == SiteAccess::All {
            return Ok(SiteId::NAMELESS);
        }
        let sites = self.sites.tables.sites();
        sites.as_ref().ok_or(SiteRefusal::NotKnownYet)?.find(name, &self.access, purpose)
    }

    /// Whether events make the sites that they name.
    pub(super) fn may_make(&self) -> bool {
        self.access == SiteAccess::AllAndNew
    }

    pub(super) async fn make(&self, name: SiteName) -> Result<SiteId, SiteRefusal> {
        self.sites.make(&name).await?;
        self.find(Some(&name), SiteUse::Write)
    }

    /// Reads and writes have a rate of their own each, so that visitors keep no partner from reading.
    pub(super) fn keep_to_rate(&self, site: SiteId, purpose: SiteUse) -> Result<(), SiteRefusal> {
        let Some(limiter) = &self.sites.per_site else { return Ok(()) };
        let now = u64::try_from(self.sites.began.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
        let standing = limiter.take(Owner::of_site(site, purpose == SiteUse::Write), now);
        if standing.is_allowed {
            return Ok(());
        }
        Err(SiteRefusal::RateLimited(RateLimited { limit: Limit::PerSite, retry_after: standing.retry_after }))
    }

    /// All that the request may read.
    pub(crate) fn list(&self) -> Result<SiteList, SiteRefusal> {
        let sites = self.sites.tables.sites();
        Ok(sites.as_ref().ok_or(SiteRefusal::NotKnownYet)?.list(&self.access))
    }

    /// Whether a site is there still.
    pub(crate) fn is_live(&self, site: SiteId) -> bool {
        site == SiteId::NAMELESS || self.sites.tables.sites().as_ref().is_some_and(|sites| sites.is_live(site))
    }
}
