use std::sync::Arc;

use model::{
    Event, IdempotencyKey, InvalidInput, SiteEvent, SiteName, TimeUnit,
    wire::{self, InvalidLine, SentEvent, SentVisitor},
};
use thiserror::Error;

use super::VisitorNames;
use crate::{
    auth::{BatchSites, RequestSites, SiteRefusal},
    ingest::limits::age::{AcceptedTimes, OutOfRange},
    query::counts::ReadError,
};

/// Reads lines, and finds the site and the visitor of each.
pub(crate) struct LineReader {
    accepted: AcceptedTimes,
    names: Arc<VisitorNames>,
    sites: BatchSites,
    /// The site of lines that name none.
    site: Option<SiteName>,
    unit: TimeUnit,
}

/// The event of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineEvent {
    pub(crate) event: SiteEvent,
    pub(crate) key: Option<IdempotencyKey>,
}

/// Why a line is not an event that can be stored.
#[derive(Debug, Error)]
pub(crate) enum LineFault {
    #[error(transparent)]
    Invalid(InvalidInput),
    #[error("the line {0}")]
    NotAnEvent(InvalidLine),
    #[error(transparent)]
    OutOfRange(OutOfRange),
    #[error(transparent)]
    Site(SiteRefusal),
    /// The visitor has no name yet, since the database does not answer.
    #[error("the database does not answer")]
    NoName(ReadError),
}

impl LineReader {
    pub(crate) fn new(
        accepted: AcceptedTimes,
        names: Arc<VisitorNames>,
        sites: RequestSites,
        site: Option<SiteName>,
        unit: TimeUnit,
    ) -> Self {
        Self { accepted, names, sites: BatchSites::new(sites), site, unit }
    }

    /// None for an empty line: the last line may end with a newline or not, and some clients send empty ones.
    pub(crate) async fn read(&mut self, line: &[u8]) -> Result<Option<LineEvent>, LineFault> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let SentEvent { at, kind, visitor, key, site } =
            wire::parse_line(line, self.unit).map_err(|error| match error {
                InvalidLine::Invalid(invalid) => LineFault::Invalid(invalid),
                InvalidLine::NotAnEvent(_) | InvalidLine::NotAnObject => LineFault::NotAnEvent(error),
            })?;
        self.accepted.check(at).map_err(LineFault::OutOfRange)?;
        let site = self.sites.find(site.or_else(|| self.site.clone())).map_err(LineFault::Site)?;
        let user = match visitor {
            SentVisitor::Named(user) => user,
            SentVisitor::Client { address, agent } => {
                self.names.of(at, address, agent.as_bytes()).await.map_err(LineFault::NoName)?
            }
        };
        Ok(Some(LineEvent { event: SiteEvent { site, event: Event { at, user, kind } }, key }))
    }

    /// Makes the sites that are new, and counts what was read as one request for each of its sites.
    pub(crate) async fn admit(self, events: &mut [SiteEvent]) -> Result<(), SiteRefusal> {
        self.sites.admit(events).await
    }
}
