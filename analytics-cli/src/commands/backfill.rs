use std::{collections::HashMap, process::ExitCode};

use clap::Args;
use db::{Auditor, Shards};
use model::{SiteHour, SiteId};

use crate::{
    database::{AtShard, check_schemas, label},
    failure::Failure,
    output::{self, hour_of_site},
    settings::{DatabaseArgs, WithSources},
    site,
};

#[derive(Debug, Args)]
pub(crate) struct BackfillArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,
}

/// An hour at a time, each in transactions of its own, so that what is made stays made when the command ends early.
pub(crate) async fn run(_: BackfillArgs, shards: &Shards) -> Result<ExitCode, Failure> {
    check_schemas(shards).await?;
    let names = site::names(shards.first()).await?;
    let (mut made, mut left, mut gone) = (0_u64, 0_u64, 0_u64);
    for (shard, store) in shards.iter().enumerate() {
        let auditor = Auditor::connect(store).await.at(shards, shard)?;
        for hour in auditor.hours_without_visitors().await.at(shards, shard)? {
            if auditor.fill_visitors(hour).await.at(shards, shard)? {
                made += 1;
                print(shards, shard, &names, hour, "set of visitors made")?;
            }
        }
        // Asked again, since an hour that a late event opened meanwhile gets its set when it settles.
        for hour in auditor.hours_without_visitors().await.at(shards, shard)? {
            left += 1;
            let why = "not made, because its raw events have another number of visitors than was settled";
            print(shards, shard, &names, hour, why)?;
        }
        gone += auditor.hours_without_visitors_for_ever().await.at(shards, shard)?;
    }

    output::message(&format!("sets of visitors made: {made}"));
    if left > 0 {
        output::warn(&format!(
            "hours left whose raw events differ from what was settled: {left}; `analytics-cli verify` shows the numbers"
        ));
    }
    if gone > 0 {
        output::message(&format!(
            "hours left whose raw events were deleted: {gone}; the unique users of a range with one of them stay unknown"
        ));
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A reader that has seen enough does not keep the rest from being made.
fn print(
    shards: &Shards,
    shard: usize,
    names: &HashMap<SiteId, String>,
    SiteHour { hour, site }: SiteHour,
    what: &str,
) -> Result<(), Failure> {
    let in_shard = label(shards, shard).map(|label| format!(" in {label}")).unwrap_or_default();
    let hour = hour_of_site(hour, &site::name_in(names, site));
    output::print_while_read(&format!("{hour}{in_shard}: {what}\n"))?;
    Ok(())
}
