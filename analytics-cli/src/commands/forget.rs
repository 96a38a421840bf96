use clap::Args;
use db::{Auditor, Store, schema};
use model::{Hour, Timestamp, UserName};

use crate::{
    database::DatabaseArgs,
    failure::{Failure, Verdict},
    output,
    settings::with_sources::WithSources,
};

#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    /// The visitor, by the very name that was sent.
    #[arg(value_name = "USER", value_parser = |user: &str| UserName::new(user))]
    user: UserName,

    /// Do it. Without this flag nothing is deleted, and the hours are only shown.
    #[arg(long)]
    yes: bool,
}

/// Looks at a day at a time, and deletes and rebuilds an hour at a time, so that no lock is held for long.
pub(crate) async fn run(args: ForgetArgs, store: &Store) -> Result<Verdict, Failure> {
    let ForgetArgs { user, yes, .. } = args;
    if let Some(complaint) = schema::status(store).await?.complaint() {
        return Err(Failure::CannotRun(complaint));
    }
    let auditor = Auditor::connect(store).await?;
    let all = Hour::containing(Timestamp::MIN)..=Hour::containing(Timestamp::MAX);
    let (mut hours, mut events, mut left) = (0, 0, 0);
    for part in auditor.parts(&all).await? {
        for traces in auditor.traces(&user, &part).await? {
            let (found, what) = if yes {
                let forgotten = auditor.forget(&user, traces.hour).await?;
                left += u64::from(!forgotten.rebuilt);
                let what =
                    if forgotten.rebuilt { "deleted, hour counted anew" } else { "deleted, hour not counted anew" };
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

    let done = if yes { "all are deleted" } else { "nothing is deleted without --yes" };
    output::talk(&format!("events: {events}, in hours: {hours}; {done}"));
    if left > 0 {
        output::warn(&format!(
            "{left} of these hours still count this visitor: their other raw events are no longer kept, or some are missing"
        ));
    }
    if let Some(kept_from) = auditor.kept_from().await? {
        output::talk(&format!(
            "of the hours before {kept_from} only counts are kept, which name nobody: whether they count this visitor cannot be known"
        ));
    }
    Ok(if left == 0 { Verdict::Yes } else { Verdict::No })
}
