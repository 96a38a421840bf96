//! How requests are written: their paths and bodies.

use std::borrow::Cow;

use model::{
    Event, EventKind, SiteName, Timestamp, UserName,
    wire::{self, ANALYTICS_PATH},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::workload::{
    mix::PlannedEvent,
    sites::{Site, SiteHour, Sites},
    visitors::Names,
};

#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) names: Names,
    pub(crate) sites: Sites,
}

impl Requests {
    /// The path that returns the counts of an hour.
    pub(crate) fn counts(&self, SiteHour { site, hour }: SiteHour) -> String {
        format!("{ANALYTICS_PATH}?{}={}{}", Timestamp::PARAMETER, hour.start().millis(), self.site(site))
    }

    /// The path that records an event.
    pub(crate) fn event(&self, event: &PlannedEvent) -> String {
        format!("{ANALYTICS_PATH}?{}", self.query(event))
    }

    /// The parameters that record an event.
    pub(crate) fn query(&self, &PlannedEvent { site, at, visitor, kind }: &PlannedEvent) -> String {
        let name = self.names.of(visitor);
        let user: Cow<'_, str> = utf8_percent_encode(&name, NON_ALPHANUMERIC).into();
        format!(
            "{}={}&{}={user}&{}={kind}{}",
            Timestamp::PARAMETER,
            at.millis(),
            UserName::PARAMETER,
            EventKind::PARAMETER,
            self.site(site)
        )
    }

    /// Behind other parameters. A name of a site needs no encoding.
    pub(crate) fn site(&self, site: Site) -> String {
        self.sites.name(site).map(|name| format!("&{}={name}", SiteName::PARAMETER)).unwrap_or_default()
    }

    /// The body of a batch, in which each line names its site.
    pub(crate) fn batch(&self, events: &[PlannedEvent]) -> Vec<u8> {
        let mut body = Vec::new();
        for &PlannedEvent { site, at, visitor, kind } in events {
            let user = UserName::new(self.names.of(visitor)).expect("the name is generated, or was parsed before");
            wire::write_line(&Event { at, user, kind }, None, self.sites.name(site), &mut body);
        }
        body
    }
}
