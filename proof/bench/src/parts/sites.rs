//! GET and POST by the number of sites that they are for, on a daemon of its own, whose memory is measured too.

use anyhow::bail;
use db::{CreatedSite, Sites};

use super::{Findings, Stage, current_hour};
use crate::{
    fill::USERS,
    measure::{Axis, Subject},
    memory::Memory,
    plan::Part,
    wrk::{Traffic, site_name},
};

pub(super) async fn measure(stage: &Stage<'_>) -> anyhow::Result<Findings> {
    let sizes = &stage.plan.sizes.sites;
    for number in 1..=sizes.iter().copied().max().unwrap_or_default() {
        let created = Sites(stage.database.store()).create(&site_name(number), None).await?;
        if !matches!(created, CreatedSite::Created(_)) {
            bail!("the site {} is not made: {created:?}", site_name(number));
        }
    }
    // It knows the sites from its start on.
    let daemon = stage.programs.daemon(stage.database.url()).await?;
    let current = current_hour();
    let mut planned = Vec::new();
    for (question, traffic) in [("POST", Traffic::posts(current, USERS)), ("GET", Traffic::gets(current))] {
        for &sites in sizes {
            let subject = Subject::new(Part::Sites, question, Axis::Sites, sites);
            planned.push(stage.load(subject, &daemon, traffic.for_sites(sites)));
        }
    }
    let mut found = stage.run(&planned, &daemon).await?;
    found.memory.push(Memory { after: Part::Sites, of: daemon.name, peak_mib: daemon.peak_memory_mib() });
    Ok(found)
}
