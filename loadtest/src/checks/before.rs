//! What the hours count before a run, whether every host answers, and whether every site is there.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures_util::StreamExt;
use model::{EventKind, Hour, HourCounts, Timestamp};
use tokio::time::{Instant, sleep};

use crate::{
    checks::{
        bounds::Rules,
        daemon::{AskError, Daemon, PAUSE},
        ledger::{Answer, Ledger},
    },
    requests::Requests,
    workload::{
        mix::PlannedEvent,
        sites::{Site, SiteHour},
    },
};

/// A daemon knows within a second of a site that was just made elsewhere.
const UNTIL_KNOWN: Duration = Duration::from_secs(2);

/// How ledgers are begun with.
pub(crate) struct Begin<'a> {
    pub(crate) requests: &'a Requests,
    pub(crate) rules: Rules,
}

impl Begin<'_> {
    /// A ledger that begins with what these hours count at the hosts of a counter. Makes the sites that are not known,
    /// each by an event.
    pub(crate) async fn ledger(&self, daemons: &[Daemon], hours: Vec<SiteHour>) -> Result<Ledger, AskError> {
        let first = &daemons[0];
        let mut before = HashMap::with_capacity(hours.len());
        let mut unknown = BTreeSet::new();
        let mut counts = Box::pin(first.counts_of(self.requests, hours, false));
        while let Some((hour, counts)) = counts.next().await {
            match counts {
                Ok(counts) => drop(before.insert(hour, counts)),
                // A site that is not there has counted nothing.
                Err(AskError::NoSite { .. }) => {
                    before.insert(hour, HourCounts::default());
                    unknown.insert(hour.site);
                }
                Err(error) => return Err(error),
            }
        }
        let ledger = Ledger::new(before, self.rules);
        for site in unknown {
            self.send_one(site, first, &ledger).await?;
        }
        let hour = Hour::containing(Timestamp::now());
        for daemon in daemons {
            for site in self.requests.sites.all() {
                until_known(async || daemon.counts(self.requests, SiteHour { site, hour }).await).await?;
            }
        }
        Ok(ledger)
    }

    /// Whether two daemons count in the same database: sends an event to one, and asks the other one for it. Nobody else
    /// may send events meanwhile.
    pub(crate) async fn is_one_counter(&self, one: &Daemon, other: &Daemon, ledger: &Ledger) -> Result<bool, AskError> {
        let site = self.requests.sites.all().next().unwrap_or_default();
        let mut before = HashMap::new();
        let now = Hour::containing(Timestamp::now());
        // The event may be the first of the next hour.
        for hour in std::iter::once(now).chain(now.next()).map(|hour| SiteHour { site, hour }) {
            match other.counts(self.requests, hour).await {
                Ok(counts) => drop(before.insert(hour, counts)),
                Err(AskError::NoSite { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        let hour = self.send_one(site, one, ledger).await?.hour();
        Ok(before.get(&hour) != Some(&other.counts(self.requests, hour).await?))
    }

    /// It makes its site, unless that was just made.
    async fn send_one(&self, site: Site, daemon: &Daemon, ledger: &Ledger) -> Result<PlannedEvent, AskError> {
        let event = PlannedEvent { site, at: Timestamp::now(), visitor: 0, kind: EventKind::Impression };
        ledger.open(&[event]);
        until_known(async || daemon.record(self.requests, &event).await).await?;
        ledger.close(&[event], Answer::Acknowledged);
        Ok(event)
    }
}

async fn until_known<T>(ask: impl AsyncFn() -> Result<T, AskError>) -> Result<T, AskError> {
    let began = Instant::now();
    loop {
        match ask().await {
            Err(AskError::NoSite { .. }) if began.elapsed() < UNTIL_KNOWN => sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}
