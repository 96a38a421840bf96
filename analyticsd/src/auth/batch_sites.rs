use std::collections::{BTreeSet, HashMap};

use model::{SiteEvent, SiteId, SiteName};

use super::{
    known_sites::SiteUse,
    sites::{RequestSites, SiteRefusal},
};

/// The sites of a batch's events. A site that it would make is made once all of the batch was read, so that a batch that is
/// refused makes none.
pub(crate) struct BatchSites {
    sites: RequestSites,
    found: HashMap<Option<SiteName>, SiteId>,
    /// Those to make, each with a number that stands for it until then.
    new: Vec<SiteName>,
}

/// Numbers of sites begin at 1, so none of the table ever is so great.
fn stand_in(place: usize) -> SiteId {
    let place = i32::try_from(place).unwrap_or(i32::MAX);
    SiteId::new(i32::MAX - place).unwrap_or_default()
}

impl BatchSites {
    pub(crate) fn new(sites: RequestSites) -> Self {
        Self { sites, found: HashMap::new(), new: Vec::new() }
    }

    /// The site of an event that names one, or none.
    pub(crate) fn find(&mut self, name: Option<SiteName>) -> Result<SiteId, SiteRefusal> {
        if let Some(&site) = self.found.get(&name) {
            return Ok(site);
        }
        let site = match self.sites.find(name.as_ref(), SiteUse::Write) {
            Err(SiteRefusal::Unknown(name)) if self.sites.may_make() => {
                self.new.push(name);
                stand_in(self.new.len() - 1)
            }
            found => found?,
        };
        self.found.insert(name, site);
        Ok(site)
    }

    /// Makes the sites that are new, and counts the batch as one request for each of its sites.
    pub(crate) async fn admit(self, events: &mut [SiteEvent]) -> Result<(), SiteRefusal> {
        let mut made = HashMap::new();
        for (place, name) in self.new.into_iter().enumerate() {
            made.insert(stand_in(place), self.sites.make(name).await?);
        }
        if !made.is_empty() {
            for event in &mut *events {
                event.site = made.get(&event.site).copied().unwrap_or(event.site);
            }
        }
        let sites: BTreeSet<SiteId> = events.iter().map(|event| event.site).collect();
        sites.into_iter().try_for_each(|site| self.sites.keep_to_rate(site, SiteUse::Write))
    }
}
