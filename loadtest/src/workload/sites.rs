use model::{Hour, SiteName};

/// The place of a site in the list of a run's sites, the most frequent one first.
pub(crate) type Site = u32;

/// What is counted by itself: an hour of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SiteHour {
    pub(crate) site: Site,
    pub(crate) hour: Hour,
}

/// The sites of a run.
#[derive(Debug, Clone)]
pub(crate) struct Sites(Vec<Option<SiteName>>);

impl Sites {
    /// None is the site without a name.
    pub(crate) fn new(names: Vec<Option<SiteName>>) -> Self {
        Self(names)
    }

    pub(crate) fn all(&self) -> std::ops::Range<Site> {
        0..Site::try_from(self.0.len()).unwrap_or(Site::MAX)
    }

    pub(crate) fn name(&self, site: Site) -> Option<&SiteName> {
        self.0[site as usize].as_ref()
    }

    /// The hour, behind the name of its site if that has one.
    pub(crate) fn describe(&self, SiteHour { site, hour }: SiteHour) -> String {
        self.name(site).map_or_else(|| hour.to_string(), |name| format!("{name} {hour}"))
    }
}
