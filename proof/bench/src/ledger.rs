//! Whether the daemon counted every event that it acknowledged.

use std::collections::BTreeSet;

use anyhow::bail;
use model::Hour;
use serde::{Deserialize, Serialize};

use crate::{
    servers::Server,
    wrk::{Posts, site_name},
};

/// The events that the daemon acknowledged for some hours since the ledger was opened.
pub(crate) struct Ledger<'a> {
    daemon: &'a Server,
    hours: BTreeSet<Hour>,
    /// As of a load.
    sites: u32,
    stored_before: u64,
    posts: Posts,
}

/// Ledgers that are right, summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Audited {
    pub(crate) acknowledged: u64,
    pub(crate) sent: u64,
    pub(crate) stored: u64,
}

impl<'a> Ledger<'a> {
    pub(crate) async fn open(daemon: &'a Server, hours: BTreeSet<Hour>, sites: u32) -> anyhow::Result<Self> {
        let stored_before = stored(daemon, &hours, sites).await?;
        Ok(Self { daemon, hours, sites, stored_before, posts: Posts::default() })
    }

    pub(crate) fn add(&mut self, posts: Posts) {
        self.posts.acknowledged += posts.acknowledged;
        self.posts.sent += posts.sent;
    }

    /// Compares with the daemon's counts.
    pub(crate) async fn close(self) -> anyhow::Result<Audited> {
        let stored = stored(self.daemon, &self.hours, self.sites).await?.saturating_sub(self.stored_before);
        audited(self.posts, stored)
    }
}

fn audited(posts: Posts, stored: u64) -> anyhow::Result<Audited> {
    let Posts { acknowledged, sent } = posts;
    if stored < acknowledged || stored > sent {
        bail!("the daemon acknowledged {acknowledged} events at least, was sent {sent} at most, and counts {stored}");
    }
    Ok(Audited { acknowledged, sent, stored })
}

impl std::ops::AddAssign for Audited {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.sent += other.sent;
        self.stored += other.stored;
    }
}

/// Of the site without a name if there are no sites.
async fn stored(daemon: &Server, hours: &BTreeSet<Hour>, sites: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for &hour in hours {
        for site in if sites == 0 { 0..=0 } else { 1..=sites } {
            let site = (site > 0).then(|| site_name(site));
            let counts = daemon.counts_of(site.as_ref(), hour).await?;
            sum += counts.clicks + counts.impressions;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::audited;
    use crate::wrk::Posts;

    #[test]
    fn what_is_stored_was_sent_and_what_was_acknowledged_is_stored() {
        let posts = Posts { acknowledged: 100, sent: 104 };
        for stored in [100, 102, 104] {
            assert_eq!(audited(posts, stored).unwrap().stored, stored);
        }
        for stored in [99, 105] {
            let error = audited(posts, stored).unwrap_err().to_string();
            assert!(error.ends_with(&format!("was sent 104 at most, and counts {stored}")), "{error}");
        }
    }
}
