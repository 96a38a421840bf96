use std::{process::ExitCode, str::FromStr, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use db::{Due, Flavour, Retention, Shards, StoreError, schema};
use thiserror::Error;

use crate::{
    database::{AtShard, Needs, check_first_schema, check_schemas, label},
    doctor::{self, Finding},
    failure::Failure,
    output,
    settings::{DatabaseArgs, WithSources},
};

const DAY: Duration = Duration::from_hours(24);

#[derive(Debug, Args)]
pub(crate) struct RetentionArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the settings in force.
    Show,
    /// Confirm that more than two days of raw events may be deleted at once, or undo what a wrong clock moved into
    /// the future.
    ///
    /// `retention set` confirms too. This is needed after a daemon was off for days, after the restore of an older
    /// backup, or after a clock was wrong. Look at `retention show` first.
    Confirm,
    /// Change the given settings only. Settled counts are always kept.
    #[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
    Set {
        /// Delete raw events that are older than this, as in 400d; or forever.
        #[arg(long, value_name = "AGE", group = "change")]
        keep: Option<Keep>,
        /// Move raw events that are older than this to the columnstore, as in 7d; or never. Only in the timescale
        /// flavour.
        #[arg(long, value_name = "AGE", group = "change")]
        columnstore_after: Option<ColumnstoreAfter>,
    },
}

impl RetentionArgs {
    pub(crate) fn needs(&self) -> Needs {
        match self.action {
            Action::Show => Needs::First,
            Action::Confirm | Action::Set { .. } => Needs::All,
        }
    }
}

/// The settings are those of the first shard. What the others have of them is shown where they answer.
pub(crate) async fn run(args: RetentionArgs, shards: &Shards) -> Result<ExitCode, Failure> {
    let shows = matches!(args.action, Action::Show);
    if shows {
        check_first_schema(shards).await?;
    } else {
        check_schemas(shards).await?;
    }
    match args.action {
        Action::Show => {}
        Action::Confirm => shards.confirm_retention().await?,
        Action::Set { keep, columnstore_after } => set(shards, keep, columnstore_after).await?,
    }
    let mut told: Vec<String> = Vec::new();
    for (shard, store) in shards.iter().enumerate() {
        let read = async { Ok::<_, StoreError>((Retention::read(store).await?, Retention::due(store).await?)) };
        let (retention, due) = match read.await.at(shards, shard) {
            Err(failure) if shows && shard > 0 => {
                output::warn(&failure.to_string());
                continue;
            }
            read => read?,
        };
        let header = label(shards, shard).map(|label| format!("{label}\n")).unwrap_or_default();
        output::print(&format!("{header}{}", describe(&retention, due.accepts_from)))?;
        // What is due is decided in the first.
        let due = if shard == 0 { due } else { Due { wanted: None, ..due } };
        if let Finding { seen, advice: Some(advice), .. } = doctor::judge_retention(&due) {
            let warning = format!("{seen}; {advice}");
            if !told.contains(&warning) {
                output::warn(&warning);
                told.push(warning);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What raw events are kept is set in the first shard, and when chunks are turned into columns in each that has chunks.
async fn set(shards: &Shards, keep: Option<Keep>, columnstore_after: Option<ColumnstoreAfter>) -> Result<(), Failure> {
    let mut with_chunks = Vec::new();
    for (shard, store) in shards.iter().enumerate() {
        let status = schema::status(store).await.at(shards, shard)?;
        if status.flavour == Some(Flavour::Timescale) {
            with_chunks.push(shard);
        }
    }
    if with_chunks.is_empty() && columnstore_after.is_some_and(|ColumnstoreAfter(age)| age.is_some()) {
        return Err(Failure::CannotRun(
            "--columnstore-after needs the timescale flavour, and this schema has the other; accepted is never"
                .to_owned(),
        ));
    }
    let mut retention = Retention::read(shards.first()).await.at(shards, 0)?;
    if let Some(Keep(keep)) = keep {
        retention.keep = keep;
    }
    if let Some(ColumnstoreAfter(age)) = columnstore_after {
        retention.columnstore_after = age.filter(|_| with_chunks.contains(&0));
    }
    shards.write_retention(&retention).await?;
    if let Some(ColumnstoreAfter(age)) = columnstore_after {
        for shard in with_chunks.into_iter().filter(|&shard| shard > 0) {
            Retention::set_columnstore_after(&shards[shard], age).await.at(shards, shard)?;
        }
    }
    Ok(())
}

fn describe(retention: &Retention, accepts_from: Option<DateTime<Utc>>) -> String {
    format!(
        "keep {}\ncolumnstore-after {}\naccepts-events-from {}\n",
        retention.keep.map_or("forever".to_owned(), write_age),
        retention.columnstore_after.map_or("never".to_owned(), write_age),
        accepts_from.map_or("any time".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
    )
}

/// In the largest unit that divides the age, so that the text can be given as a flag.
fn write_age(age: Duration) -> String {
    let seconds = age.as_secs();
    [(86_400, "d"), (3_600, "h"), (60, "m")]
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit))
        .map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// The value of `--keep`; none: forever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Keep(Option<Duration>);

/// The value of `--columnstore-after`; none: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ColumnstoreAfter(Option<Duration>);

#[derive(Debug, Error)]
enum InvalidAge {
    #[error("{0}; accepted is an age as in 400d, or {1}")]
    Unreadable(humantime::DurationError, &'static str),
    #[error("raw events are deleted by whole days; accepted is a number of days as in 400d, or forever")]
    NoWholeDays,
    #[error("the age is less than a second; accepted is an age as in 7d, or never")]
    TooShort,
}

impl FromStr for Keep {
    type Err = InvalidAge;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let age = humantime::parse_duration(text).map_err(|e| InvalidAge::Unreadable(e, "forever"))?;
        let whole_days = age >= DAY && age.subsec_nanos() == 0 && age.as_secs().is_multiple_of(DAY.as_secs());
        if whole_days { Ok(Self(Some(age))) } else { Err(InvalidAge::NoWholeDays) }
    }
}

impl FromStr for ColumnstoreAfter {
    type Err = InvalidAge;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self(None));
        }
        let age = humantime::parse_duration(text).map_err(|e| InvalidAge::Unreadable(e, "never"))?;
        if age.as_secs() == 0 { Err(InvalidAge::TooShort) } else { Ok(Self(Some(Duration::from_secs(age.as_secs())))) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use db::Retention;

    use super::{ColumnstoreAfter, DAY, Keep, describe};

    #[test]
    fn what_is_kept_is_a_number_of_whole_days() {
        for (text, keep) in [
            ("forever", Some(None)),
            ("1d", Some(Some(DAY))),
            ("400d", Some(Some(DAY * 400))),
            ("48h", Some(Some(DAY * 2))),
            ("36h", None),
            ("0d", None),
            ("12h", None),
            ("1d 1ns", None),
            ("400", None),
            ("never", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Keep>().ok(), keep.map(Keep), "{text:?}");
        }
    }

    #[test]
    fn columns_are_made_after_an_age_or_never() {
        for (text, age) in [
            ("never", Some(None)),
            ("7d", Some(Some(DAY * 7))),
            ("90m", Some(Some(Duration::from_mins(90)))),
            ("10ms", None),
            ("forever", None),
        ] {
            assert_eq!(text.parse::<ColumnstoreAfter>().ok(), age.map(ColumnstoreAfter), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_can_be_given_again() {
        let retention = Retention { keep: Some(DAY * 400), columnstore_after: Some(Duration::from_mins(90)) };
        assert_eq!(describe(&retention, None), "keep 400d\ncolumnstore-after 90m\naccepts-events-from any time\n");
        let nothing = Retention { keep: None, columnstore_after: None };
        let since = Some("2015-05-17T00:00:00Z".parse().unwrap());
        assert_eq!(
            describe(&nothing, since),
            "keep forever\ncolumnstore-after never\naccepts-events-from 2015-05-17T00:00:00Z\n"
        );
    }
}
