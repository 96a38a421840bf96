use std::process::ExitCode;

use clap::Args;
use db::{Auditor, Shards, Sites};
use model::{Hour, SiteHour, SiteId, SiteName, Timestamp, UserName};

use crate::{
    database::check_schemas,
    failure::Failure,
    output,
    settings::{DatabaseArgs, WithSources},
    site,
};

#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    /// The visitor's name, exactly as it was sent.
    #[arg(value_name = "USER", value_parser = |user: &str| UserName::new(user))]
    user: UserName,

    /// Delete the events. Without this flag the hours are only printed.
    #[arg(long)]
    yes: bool,

    /// The site whose visitor it is [default: the one without a name].
    #[arg(long, value_name = "SITE")]
    site: Option<SiteName>,
}

/// Searches a day at a time, and deletes and rebuilds an hour at a time, so that no lock is held for long.
pub(crate) async fn run(args: ForgetArgs, shards: &Shards) -> Result<ExitCode, Failure> {
    let ForgetArgs { user, yes, site: name, .. } = args;
    check_schemas(shards).await?;
    let (first, store) = (shards.first(), shards.of(&user));
    let site = match &name {
        Some(name) => site::number_of(first, name).await?,
        None => SiteId::NAMELESS,
    };
    let auditor = Auditor::connect(store).await?;
    let all = Hour::containing(Timestamp::MIN)..=Hour::containing(Timestamp::MAX);
    let (mut hours, mut events, mut left) = (0, 0, 0);
    for part in auditor.parts(&all).await? {
        for traces in auditor.traces(&user, site, &part).await? {
            let (found, what) = if yes {
                let forgotten = auditor.forget(&user, SiteHour { hour: traces.hour, site }).await?;
                left += u64::from(!forgotten.rebuilt);
                let what = if forgotten.rebuilt { "deleted, hour rebuilt" } else { "deleted, hour not rebuilt" };
                (forgotten.deleted, what)
            } else {
                (traces.events, "found")
            };
            hours += 1;
            events += found;
            // A reader that has seen enough does not keep the rest from being deleted.
            output::print_while_read(&format!("{}: events {what}: {found}\n", traces.hour))?;
        }
    }

    // It may be there although no raw event of the visitor is.
    let had_number = auditor.has_number(&user, site).await?;
    if yes {
        auditor.forget_name(&user, site).await?;
    }
    let done = if yes { "all are deleted" } else { "give --yes to delete them" };
    let of_site = match name {
        Some(name) => format!(" of the site {name}"),
        None if Sites(first).list().await?.is_empty() => String::new(),
        None => " of the site without a name (for another there is --site)".to_owned(),
    };
    output::message(&format!("events: {events}, in hours: {hours}{of_site}; {done}"));
    if had_number {
        let name = if yes { "the name is deleted" } else { "--yes deletes the name" };
        output::message(&format!("sets of visitors know this visitor by a number, which stays; {name}"));
    }
    if left > 0 {
        output::warn(&format!(
            "{left} of these hours still count this visitor: their other raw events were deleted, or some are missing"
        ));
    }
    if let Some(kept_from) = auditor.kept_from().await? {
        output::message(&format!(
            "raw events before {kept_from} were deleted; the counts and sets of those hours hold no names, and may count this visitor"
        ));
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
