use model::{Hour, SiteName};
use rand::Rng;
use rand_distr::{Distribution, weighted::WeightedIndex};

use super::visitors::Visitors;

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

/// How the site of a request is chosen.
#[derive(Debug)]
pub(crate) enum SiteChoice {
    One,
    /// The first of them are the most frequent.
    ByZipfsLaw(Visitors),
    ByShares(WeightedIndex<f64>),
}

impl SiteChoice {
    /// Of so many sites. Without shares by the law, of which this is the exponent.
    pub(crate) fn new(sites: usize, zipf: f64, shares: &[f64]) -> Self {
        let all = u32::try_from(sites).expect("the command line accepts fewer");
        match shares {
            _ if all <= 1 => Self::One,
            [] => Self::ByZipfsLaw(Visitors::new(all, zipf)),
            shares => Self::ByShares(WeightedIndex::new(shares).expect("the command line accepts only valid numbers")),
        }
    }

    pub(crate) fn choose(&self, rng: &mut impl Rng) -> Site {
        let site = match self {
            Self::One => 0,
            Self::ByZipfsLaw(sites) => sites.choose(rng),
            Self::ByShares(sites) => sites.sample(rng) as u64,
        };
        Site::try_from(site).expect("there are fewer")
    }
}
