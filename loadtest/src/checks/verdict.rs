use futures_util::StreamExt;
use model::{HourCounts, SiteName};
use serde::Serialize;

use crate::{
    checks::{
        bounds::{Bounds, Fault},
        daemon::Daemon,
        ledger::Ledger,
    },
    requests::Requests,
};

#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) acknowledged: u64,
    /// Events that were not answered, which may be stored or not.
    pub(crate) open: u64,
    pub(crate) hours: Vec<HourVerdict>,
    /// Why not all hours could be checked.
    pub(crate) unverified: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HourVerdict {
    /// Who counted it. None if there is only one.
    pub(crate) host: Option<String>,
    /// None for the one without a name.
    pub(crate) site: Option<String>,
    pub(crate) hour: String,
    pub(crate) counts: HourCounts,
    #[serde(flatten)]
    pub(crate) bounds: Bounds,
    pub(crate) faults: Vec<Fault>,
}

impl HourVerdict {
    pub(crate) fn name(&self) -> String {
        let Self { host, site, hour, .. } = self;
        let site = site.iter().map(|site| format!("{site} "));
        let host = host.iter().map(|host| format!(" at {host}"));
        site.chain([hour.clone()]).chain(host).collect()
    }
}

impl Verdict {
    /// Of ledgers whose hours are still to be checked.
    pub(crate) fn of<'a>(ledgers: impl Iterator<Item = &'a Ledger>) -> Self {
        let totals = ledgers.map(Ledger::totals);
        let (acknowledged, open) = totals.fold((0, 0), |sum, totals| (sum.0 + totals.0, sum.1 + totals.1));
        Self { acknowledged, open, hours: Vec::new(), unverified: None }
    }

    /// Compares what each host counts in every hour with the ledger.
    pub(crate) async fn check(&mut self, daemons: &[Daemon], requests: &Requests, ledger: &Ledger) {
        for daemon in daemons {
            let host = (daemons.len() > 1).then(|| daemon.host().to_owned());
            let mut counts = Box::pin(daemon.counts_of(requests, ledger.touched(), true));
            while let Some((hour, counts)) = counts.next().await {
                match counts {
                    Ok(counts) => {
                        let bounds = ledger.bounds(hour);
                        let faults = bounds.faults(counts);
                        let (host, hour, site) = (host.clone(), hour.hour.to_string(), requests.sites.name(hour.site));
                        let site = site.map(SiteName::to_string);
                        self.hours.push(HourVerdict { host, site, hour, counts, bounds, faults });
                    }
                    Err(error) => {
                        self.unverified = Some(error.to_string());
                        return;
                    }
                }
            }
        }
    }

    pub(crate) fn is_right(&self) -> bool {
        self.unverified.is_none() && self.hours.iter().all(|hour| hour.faults.is_empty())
    }
}
