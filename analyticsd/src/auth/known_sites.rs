//! The table of sites as it was last read, and which of them a token may use.

use std::{collections::HashMap, sync::Arc};

use db::{LiveSite, LiveSites};
use model::{ListedSite, SiteId, SiteList, SiteName};

use super::sites::SiteRefusal;

/// The sites that a request may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SiteAccess {
    All,
    /// All, and those that events make.
    AllAndNew,
    Only(Arc<[SiteId]>),
}

impl SiteAccess {
    pub(super) fn allows(&self, site: SiteId) -> bool {
        match self {
            Self::All | Self::AllAndNew => true,
            Self::Only(sites) => sites.contains(&site),
        }
    }
}

/// What a request does with a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SiteUse {
    Write,
    Read,
}

/// The table of sites as it was last read.
#[derive(Debug)]
pub(super) struct KnownSites {
    pub(super) changes: i64,
    by_name: HashMap<SiteName, SiteId>,
    /// Whether each of them is archived.
    live: HashMap<SiteId, bool>,
}

impl From<LiveSites> for KnownSites {
    fn from(LiveSites { changes, sites }: LiveSites) -> Self {
        let live = sites.iter().map(|site| (site.id, site.is_archived)).collect();
        let by_name = sites.into_iter().map(|LiveSite { id, name, .. }| (name, id)).collect();
        Self { changes, by_name, live }
    }
}

impl KnownSites {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn is_live(&self, site: SiteId) -> bool {
        site == SiteId::NAMELESS || self.live.contains_key(&site)
    }

    pub(super) fn list(&self, access: &SiteAccess) -> SiteList {
        let named = self.by_name.iter().filter(|(_, site)| access.allows(**site));
        let listed = |(name, site): (&SiteName, &SiteId)| ListedSite {
            name: name.as_str().to_owned(),
            archived: self.live.get(site) == Some(&true),
        };
        let mut sites: Vec<ListedSite> = named.map(listed).collect();
        sites.sort_unstable();
        SiteList { sites, nameless: access.allows(SiteId::NAMELESS) }
    }

    pub(super) fn find(
        &self,
        name: Option<&SiteName>,
        access: &SiteAccess,
        purpose: SiteUse,
    ) -> Result<SiteId, SiteRefusal> {
        let site = match (access, name) {
            (SiteAccess::All | SiteAccess::AllAndNew, None) => SiteId::NAMELESS,
            (SiteAccess::All | SiteAccess::AllAndNew, Some(name)) => {
                *self.by_name.get(name).ok_or_else(|| SiteRefusal::Unknown(name.clone()))?
            }
            (SiteAccess::Only(sites), None) => {
                let mut live = sites.iter().filter(|site| self.is_live(**site));
                match (live.next(), live.next()) {
                    (Some(site), None) => *site,
                    (None, _) => return Err(SiteRefusal::NotAllowed),
                    (Some(_), Some(_)) => return Err(SiteRefusal::NotNamed),
                }
            }
            (SiteAccess::Only(sites), Some(name)) => {
                let named = self.by_name.get(name).filter(|site| sites.contains(site));
                *named.ok_or(SiteRefusal::NotAllowed)?
            }
        };
        if purpose == SiteUse::Write && self.live.get(&site) == Some(&true) {
            return Err(SiteRefusal::Archived);
        }
        Ok(site)
    }
}

#[cfg(test)]
mod tests {
    use db::{LiveSite, LiveSites};
    use model::{SiteId, SiteName};

    use super::{KnownSites, SiteAccess, SiteUse};
    use crate::auth::sites::SiteRefusal;

    fn id(number: i32) -> SiteId {
        SiteId::new(number).unwrap()
    }

    fn name(text: &str) -> SiteName {
        SiteName::new(text).unwrap()
    }

    fn known() -> KnownSites {
        let site = |number, text, is_archived| LiveSite { id: id(number), name: name(text), is_archived };
        KnownSites::from(LiveSites { changes: 3, sites: vec![site(1, "shop", false), site(2, "old", true)] })
    }

    #[test]
    fn who_may_use_all_sites_names_one_or_counts_for_the_one_without_a_name() {
        let find = |named: Option<&str>, purpose| known().find(named.map(name).as_ref(), &SiteAccess::All, purpose);
        assert_eq!(find(None, SiteUse::Write), Ok(SiteId::NAMELESS));
        assert_eq!(find(Some("shop"), SiteUse::Write), Ok(id(1)));
        assert_eq!(find(Some("old"), SiteUse::Read), Ok(id(2)));
        assert_eq!(find(Some("old"), SiteUse::Write), Err(SiteRefusal::Archived));
        assert_eq!(find(Some("Shop"), SiteUse::Read), Err(SiteRefusal::Unknown(name("Shop"))));
    }

    #[test]
    fn who_may_use_some_sites_is_not_told_whether_there_are_others() {
        let find = |sites: &[i32], named: Option<&str>| {
            let access = SiteAccess::Only(sites.iter().map(|number| id(*number)).collect());
            known().find(named.map(name).as_ref(), &access, SiteUse::Read)
        };
        assert_eq!(find(&[1], None), Ok(id(1)));
        assert_eq!(find(&[1], Some("shop")), Ok(id(1)));
        assert_eq!(find(&[1], Some("old")), Err(SiteRefusal::NotAllowed), "it is there");
        assert_eq!(find(&[1], Some("nothing")), Err(SiteRefusal::NotAllowed), "it is not there");
        assert_eq!(find(&[7], None), Err(SiteRefusal::NotAllowed), "its site is deleted");
        assert_eq!(find(&[7, 2], None), Ok(id(2)), "one is left");
        assert_eq!(find(&[1, 2], None), Err(SiteRefusal::NotNamed));
        assert_eq!(find(&[1, 2], Some("old")), Ok(id(2)));
        assert_eq!(find(&[0], None), Ok(SiteId::NAMELESS));
        assert_eq!(find(&[0], Some("shop")), Err(SiteRefusal::NotAllowed));
    }
}
