use std::{
    collections::HashSet,
    fmt,
    io::{self, IsTerminal},
    ops::RangeInclusive,
    process::ExitCode,
};

use clap::Args;
use db::{AuditedHour, Auditor, Difference, Repaired, Shards};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{Hour, SiteHour, SiteId, SiteName, Timestamp};

use crate::{
    database::{AtShard, check_schemas, label},
    failure::Failure,
    output::{self, AuditFormat, hour_of_site},
    settings::{DatabaseArgs, WithSources},
    site,
    time::{Clock, TimeArgument},
};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    /// The hours from the one that contains this time [default: the first hour].
    ///
    /// A time is RFC 3339, a UTC day or hour as in 2015-05-17 or 2015-05-17T10, today, yesterday, now, a time before
    /// now as in -2h, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<TimeArgument>,

    /// The hours up to the one that contains this time, which is included [default: the last hour].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<TimeArgument>,

    /// Rebuild every hour that differs from its raw events, each in a transaction, and check it again.
    ///
    /// An hour stays as it is if one of its counts would fall.
    #[arg(long)]
    repair: bool,

    /// Only the hours of this site [default: of all sites].
    #[arg(long, value_name = "SITE")]
    site: Option<SiteName>,

    /// Rebuild the hour that contains this time even if its counts fall, because its raw events are lost. It is an
    /// hour of --site or, without that, of the site without a name, in each shard. May be given several times, or with commas.
    #[arg(long, value_name = "HOUR", requires = "repair", value_delimiter = ',')]
    accept_loss: Vec<TimeArgument>,

    /// The output format.
    #[arg(long, value_enum, default_value_t = AuditFormat::Table)]
    format: AuditFormat,
}

impl VerifyArgs {
    /// Refuses what contradicts itself, before any database is asked.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        span(self.from.as_ref(), self.to.as_ref()).map(drop)
    }
}

/// Audits a day at a time, so that memory does not grow with the database.
pub(crate) async fn run(args: VerifyArgs, shards: &Shards) -> Result<ExitCode, Failure> {
    let hours = span(args.from.as_ref(), args.to.as_ref())?;
    let mut lost = HashSet::new();
    for time in &args.accept_loss {
        if time.whole().is_some() {
            let advice = "--accept-loss: a day or month is many hours; name each hour whose loss you accept, as in 2015-05-17T10";
            return Err(Failure::CannotRun(advice.to_owned()));
        }
        lost.insert(Hour::containing(time.resolve("--accept-loss", Clock::utc())?));
    }
    check_schemas(shards).await?;
    let site = match &args.site {
        Some(name) => Some(site::number_of(shards.first(), name).await?),
        None => None,
    };
    let names = site::names(shards.first()).await?;
    let mut audited = Vec::with_capacity(shards.len());
    for (shard, store) in shards.iter().enumerate() {
        let auditor = Auditor::connect(store).await.at(shards, shard)?;
        let parts = auditor.parts(&hours).await.at(shards, shard)?;
        audited.push((auditor, parts));
    }

    let names_shards = shards.len() > 1;
    // A reader that has seen enough changes neither the repairs nor the exit code.
    output::print_while_read(&args.format.header(names_shards))?;
    let progress = progress(audited.iter().map(|(_, parts)| parts.len() as u64).sum());
    let mut summary = Summary::default();
    for (shard, (auditor, parts)) in audited.iter().enumerate() {
        let of_shard = names_shards.then_some(shard);
        let before = label(shards, shard).map(|label| format!("{label}: ")).unwrap_or_default();
        for part in parts {
            for audited in auditor.audit(part, site).await.at(shards, shard)? {
                if !summary.add(&audited) {
                    continue;
                }
                let SiteHour { hour, site: of } = audited.site_hour;
                let name = &site::name_in(&names, of);
                let written = args.format.write(name, of_shard, &audited, output::palette());
                progress.suspend(|| output::print_while_read(&written))?;
                if args.repair {
                    let accepts_loss = of == site.unwrap_or_default() && lost.contains(&hour);
                    let repaired = repair(auditor, &audited, name, accepts_loss).await.at(shards, shard)?;
                    summary.repaired += u64::from(repaired.is_ok());
                    let (Ok(result) | Err(result)) = repaired;
                    progress.suspend(|| output::message(&format!("{before}{}: {result}", hour_of_site(hour, name))));
                }
            }
            progress.set_message(format!("{} events", HumanCount(summary.events)));
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    output::message(&summary.to_string());
    Ok(if summary.differing == summary.repaired { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn span(from: Option<&TimeArgument>, to: Option<&TimeArgument>) -> Result<RangeInclusive<Hour>, Failure> {
    let clock = Clock::utc();
    let from = from.map_or(Ok(Timestamp::MIN), |time| time.resolve("--from", clock))?;
    let to = to.map_or(Ok(Timestamp::MAX), |time| time.resolve_last("--to", clock))?;
    if from > to {
        return Err(Failure::CannotRun("--from is later than --to; swap them".to_owned()));
    }
    Ok(Hour::containing(from)..=Hour::containing(to))
}

/// Rebuilds an hour. Ok if it agrees with its raw events now; either text is for people.
async fn repair(
    auditor: &Auditor,
    audited: &AuditedHour,
    name: &str,
    accepts_loss: bool,
) -> Result<Result<String, String>, Failure> {
    const FOREIGN: &str = "the raw events of visitors who belong to another shard stay where they are; docs/command-line.md says how to move them";
    let site_hour = audited.site_hour;
    let SiteHour { hour, site } = site_hour;
    if !audited.differences().iter().any(Difference::is_repairable) {
        return Ok(Err(format!("not repaired: {FOREIGN}")));
    }
    let of_site = if site == SiteId::NAMELESS { String::new() } else { format!(" --site {name}") };
    match auditor.repair(site_hour, accepts_loss).await? {
        Repaired::Done => {}
        Repaired::WouldFall(both_sides) => {
            return Ok(Err(format!(
                "not repaired: {both_sides}. Restore the raw events from a backup and repair the hour then, or accept the loss with \
                 `--repair{of_site} --accept-loss {hour}`"
            )));
        }
        Repaired::NoLongerKept(why) => return Ok(Err(format!("not repaired: {why}"))),
    }
    let again = auditor.audit(&(hour..=hour), Some(site)).await?;
    let left: Vec<Difference> = again.iter().flat_map(AuditedHour::differences).collect();
    Ok(if left.is_empty() {
        Ok("repaired".to_owned())
    } else if !left.iter().any(Difference::is_repairable) {
        Err(format!("rebuilt, but {FOREIGN}"))
    } else {
        Err("still differs after its repair; does something else change it?".to_owned())
    })
}

/// Drawn on standard error if that is a terminal.
fn progress(days: u64) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} days, {msg}, {eta} to go")
        .expect("the template is constant and valid");
    ProgressBar::with_draw_target(Some(days), target).with_style(style).with_message("0 events")
}

#[derive(Debug, Default)]
struct Summary {
    hours: u64,
    events: u64,
    differing: u64,
    repaired: u64,
    skipped: u64,
}

impl Summary {
    /// Counts an hour, and returns whether it differs.
    fn add(&mut self, audited: &AuditedHour) -> bool {
        let differs = !audited.differences().is_empty();
        if !audited.is_verifiable && !differs {
            self.skipped += 1;
            return false;
        }
        self.hours += 1;
        self.events += u64::try_from(audited.raw.clicks + audited.raw.impressions).unwrap_or_default();
        self.differing += u64::from(differs);
        differs
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hours, events, differing, repaired, skipped } = self;
        write!(f, "verified {hours} hours, {events} events; {differing} differ")?;
        if *repaired > 0 {
            write!(f, ", {repaired} repaired")?;
        }
        if *skipped > 0 {
            write!(f, "; {skipped} hours skipped: their raw events were deleted")?;
        }
        Ok(())
    }
}
