use std::{
    fmt,
    io::{self, IsTerminal},
    ops::RangeInclusive,
};

use clap::Args;
use db::{AuditedHour, Auditor, Store, schema};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{Hour, Timestamp};

use crate::{
    audit_report::Format,
    database::DatabaseArgs,
    failure::{Failure, Verdict},
    output,
    time::TimeArgument,
    with_sources::WithSources,
};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    /// The hours from the one that holds this time; without it, from the first.
    ///
    /// A time is RFC 3339, now, a time before now as in -2h, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<TimeArgument>,

    /// The hours up to and with the one that holds this time; without it, to the last.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<TimeArgument>,

    /// Rebuild every hour that differs from its raw events, each in a transaction, and check it again.
    #[arg(long)]
    repair: bool,

    /// How to write the hours that differ.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Audits a day at a time, so that what is kept in memory does not grow with the database.
pub(crate) async fn run(args: VerifyArgs, store: &Store) -> Result<Verdict, Failure> {
    let hours = span(args.from.as_ref(), args.to.as_ref())?;
    if let Some(complaint) = schema::status(store).await?.complaint() {
        return Err(Failure::CannotRun(complaint));
    }
    let auditor = Auditor::connect(store).await?;
    let parts = auditor.parts(&hours).await?;

    // A reader that has seen enough changes neither what is repaired nor the exit code.
    output::print_while_read(args.format.header())?;
    let progress = progress(parts.len() as u64);
    let mut summary = Summary::default();
    for part in &parts {
        for audited in auditor.audit(part).await? {
            if !summary.add(&audited) {
                continue;
            }
            progress.suspend(|| output::print_while_read(&args.format.write(&audited, output::palette())))?;
            if args.repair {
                let told = if repair(&auditor, audited.hour).await? {
                    summary.repaired += 1;
                    "repaired"
                } else {
                    "still differs after its repair; is it being tampered with?"
                };
                progress.suspend(|| output::talk(&format!("{}: {told}", audited.hour)));
            }
        }
        progress.set_message(format!("{} events", HumanCount(summary.events)));
        progress.inc(1);
    }
    progress.finish_and_clear();
    output::talk(&summary.to_string());
    Ok(if summary.differing == summary.repaired { Verdict::Yes } else { Verdict::No })
}

fn span(from: Option<&TimeArgument>, to: Option<&TimeArgument>) -> Result<RangeInclusive<Hour>, Failure> {
    let now = Timestamp::now();
    let from = from.map_or(Ok(Timestamp::MIN), |time| time.resolve("--from", now))?;
    let to = to.map_or(Ok(Timestamp::MAX), |time| time.resolve("--to", now))?;
    if from > to {
        return Err(Failure::CannotRun("--from is later than --to; exchange them".to_owned()));
    }
    Ok(Hour::containing(from)..=Hour::containing(to))
}

/// Rebuilds an hour, and returns whether it agrees with its raw events now.
async fn repair(auditor: &Auditor, hour: Hour) -> Result<bool, Failure> {
    auditor.repair(hour).await?;
    let again = auditor.audit(&(hour..=hour)).await?;
    Ok(again.iter().all(|hour| hour.differences().is_empty()))
}

/// How far it is, drawn on standard error if that is a terminal.
fn progress(days: u64) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} days, {msg}, {eta} to go")
        .expect("the template is constant and valid");
    ProgressBar::with_draw_target(Some(days), target).with_style(style).with_message("0 events")
}

/// What was found so far.
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
        if !audited.is_verifiable {
            self.skipped += 1;
            return false;
        }
        self.hours += 1;
        self.events += u64::try_from(audited.raw.clicks + audited.raw.impressions).unwrap_or_default();
        let differs = !audited.differences().is_empty();
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
            write!(f, "; {skipped} hours skipped, whose raw events are no longer kept")?;
        }
        Ok(())
    }
}
