use std::{collections::HashMap, fmt};

use arc_swap::ArcSwap;
use model::{EventKind, SiteEvent, SiteId, SiteName};

use super::{Counter, Sink};

/// The label of all sites that have none of their own.
pub(crate) const OTHER: &str = "other";

/// What is counted for each site. The labels are given at the start and do not change, however many sites there are.
pub(crate) struct SiteMetrics {
    /// First of the site without a name, then of those that are named, and last of all others.
    series: Vec<Series>,
    /// Which of them a site has, for those that are named and known.
    places: ArcSwap<HashMap<SiteId, usize>>,
}

#[derive(Default)]
struct Series {
    label: &'static str,
    clicks: Counter,
    impressions: Counter,
    reads: Counter,
}

impl SiteMetrics {
    pub(super) fn new(named: impl IntoIterator<Item = SiteName>) -> Self {
        // They are needed as long as the process lives.
        let named = named.into_iter().map(|name| &*Box::leak(name.as_str().to_owned().into_boxed_str()));
        let labels = [""].into_iter().chain(named).chain([OTHER]);
        let series = labels.map(|label| Series { label, ..Series::default() }).collect();
        Self { series, places: ArcSwap::default() }
    }

    /// Notes which site has which name now.
    pub(crate) fn are<'a>(&self, sites: impl IntoIterator<Item = (SiteId, &'a SiteName)>) {
        let named = 1..self.series.len() - 1;
        let place = |name: &SiteName| named.clone().find(|&place| self.series[place].label == name.as_str());
        let places = sites.into_iter().filter_map(|(site, name)| Some((site, place(name)?))).collect();
        self.places.store(std::sync::Arc::new(places));
    }

    /// Counts an event that is stored.
    pub(super) fn stored(&self, SiteEvent { site, event }: &SiteEvent) {
        let series = self.of(*site);
        match event.kind {
            EventKind::Click => series.clicks.add(1),
            EventKind::Impression => series.impressions.add(1),
        }
    }

    /// Counts a request that reads.
    pub(crate) fn read(&self, site: SiteId) {
        self.of(site).reads.add(1);
    }

    fn of(&self, site: SiteId) -> &Series {
        let last = self.series.len() - 1;
        &self.series[if site == SiteId::NAMELESS { 0 } else { self.places.load().get(&site).copied().unwrap_or(last) }]
    }

    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        sink.counter(
            "analyticsd_site_events_stored",
            "Events that this daemon stored, by site: one that --metrics-site names, the one without a name, or other",
            self.series.iter().flat_map(|Series { label, clicks, impressions, .. }| {
                [("click", clicks), ("impression", impressions)]
                    .map(|(event, count)| (vec![("site", *label), ("event", event)], count.get()))
            }),
        )?;
        sink.counter(
            "analyticsd_site_reads",
            "Requests for the counts of a site, by site in the same way",
            self.series.iter().map(|Series { label, reads, .. }| (vec![("site", *label)], reads.get())),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Event, EventKind, SiteEvent, SiteId, SiteName, Timestamp, UserName};

    use crate::telemetry::metrics::Metrics;

    #[test]
    fn a_site_has_the_label_of_its_present_name_if_that_was_named_at_the_start() {
        let (id, name) = (|number| SiteId::new(number).unwrap(), |text: &str| SiteName::new(text).unwrap());
        let metrics = Arc::new(Metrics::new([], Arc::default(), [name("shop")], 1));
        let event = |site| {
            let user = UserName::new("anna").unwrap();
            SiteEvent { site: id(site), event: Event { at: Timestamp::MIN, user, kind: EventKind::Click } }
        };
        let stored = |expected: [(&str, u32); 3]| {
            let shown = metrics.render();
            for (label, count) in expected {
                let line = format!("analyticsd_site_events_stored_total{{site=\"{label}\",event=\"click\"}} {count}");
                assert!(shown.contains(&line), "{line} in {shown}");
            }
        };
        for site in [0, 1, 2] {
            metrics.sites.stored(&event(site));
        }
        stored([("", 1), ("shop", 0), ("other", 2)]);
        metrics.sites.are([(id(1), &name("shop")), (id(2), &name("blog"))]);
        for site in [0, 1, 1, 2] {
            metrics.sites.stored(&event(site));
        }
        stored([("", 2), ("shop", 2), ("other", 3)]);
        metrics.sites.are([(id(2), &name("shop"))]);
        for site in [1, 2] {
            metrics.sites.stored(&event(site));
        }
        stored([("", 2), ("shop", 3), ("other", 4)]);
        assert!(!metrics.render().contains("blog"));
    }
}
