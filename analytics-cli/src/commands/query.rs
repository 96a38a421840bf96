use std::{fmt::Write, iter};

use clap::{Args, ValueEnum};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{Hour, HourCounts, Timestamp};
use serde::Serialize;

use crate::{
    failure::{Failure, Verdict},
    output,
    server::Server,
    table::{self, Side},
    time::TimeArgument,
};

/// The most hours of one query; a little more than a year.
const MAX_HOURS: usize = 10_000;
/// How many questions are on their way at a time. The daemon answers those that wait together with one read.
const IN_FLIGHT: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The hour that holds this time; without any time, the current hour.
    ///
    /// A time is RFC 3339, now, a time before now as in -2h, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with_all = ["from", "to"])]
    at: Option<TimeArgument>,

    /// Every hour from the one that holds this time, at most 10,000 hours.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "to")]
    from: Option<TimeArgument>,

    /// Every hour up to and with the one that holds this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "from")]
    to: Option<TimeArgument>,

    /// How to write the counts.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// An array of objects.
    Json,
}

/// Asks for every hour of the range and prints them in order. Nothing is printed unless all were answered.
pub(crate) async fn run(args: QueryArgs, server: &Server) -> Result<Verdict, Failure> {
    let now = Timestamp::now();
    let resolve = |flag, time: &Option<TimeArgument>| time.as_ref().map_or(Ok(now), |time| time.resolve(flag, now));
    let (from, to) = if args.from.is_some() {
        (resolve("--from", &args.from)?, resolve("--to", &args.to)?)
    } else {
        let at = resolve("--at", &args.at)?;
        (at, at)
    };
    let rows: Vec<Row> = stream::iter(hours_between(from, to)?)
        .map(|hour| async move { Ok::<_, Failure>(Row::new(hour, server.counts(hour).await?)) })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await?;
    output::print(&args.format.write(&rows))?;
    Ok(Verdict::Yes)
}

fn hours_between(from: Timestamp, to: Timestamp) -> Result<Vec<Hour>, Failure> {
    if from > to {
        return Err(Failure::CannotRun("--from is later than --to; exchange them".to_owned()));
    }
    let (first, last) = (Hour::containing(from), Hour::containing(to));
    let range = iter::successors(Some(first), |hour| hour.next()).take_while(|hour| *hour <= last);
    let hours: Vec<Hour> = range.take(MAX_HOURS + 1).collect();
    if hours.len() > MAX_HOURS {
        return Err(Failure::CannotRun(format!(
            "from {first} to {last} are more than {MAX_HOURS} hours; ask for them in parts"
        )));
    }
    Ok(hours)
}

#[derive(Debug, Serialize)]
struct Row {
    hour: String,
    #[serde(flatten)]
    counts: HourCounts,
}

impl Row {
    fn new(hour: Hour, counts: HourCounts) -> Self {
        Self { hour: hour.to_string(), counts }
    }
}

impl Format {
    fn write(self, rows: &[Row]) -> String {
        match self {
            Self::Table => {
                let header = [
                    ("hour", Side::Left),
                    ("unique_users", Side::Right),
                    ("clicks", Side::Right),
                    ("impressions", Side::Right),
                ];
                let rows: Vec<[String; 4]> = rows
                    .iter()
                    .map(|Row { hour, counts }| {
                        [
                            hour.clone(),
                            counts.unique_users.to_string(),
                            counts.clicks.to_string(),
                            counts.impressions.to_string(),
                        ]
                    })
                    .collect();
                table::layout(header, &rows)
            }
            Self::Csv => {
                let mut text = "hour,unique_users,clicks,impressions\n".to_owned();
                for Row { hour, counts: HourCounts { unique_users, clicks, impressions } } in rows {
                    writeln!(text, "{hour},{unique_users},{clicks},{impressions}")
                        .expect("writing into memory cannot fail");
                }
                text
            }
            Self::Json => {
                let json = serde_json::to_string_pretty(rows).expect("strings and integers can be written as JSON");
                format!("{json}\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Hour, HourCounts, Timestamp};

    use super::{Format, MAX_HOURS, Row, hours_between};

    const HOUR: i64 = 3_600_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn rows() -> [Row; 2] {
        let first = Hour::containing(at(1_431_857_103_000));
        [
            Row::new(first, HourCounts { unique_users: 3, clicks: 12, impressions: 1_234_567_890_123 }),
            Row::new(first.next().unwrap(), HourCounts::default()),
        ]
    }

    #[test]
    fn both_ends_of_a_range_are_included() {
        let count = |from, to| hours_between(at(from), at(to)).unwrap().len();
        assert_eq!(count(0, 0), 1);
        assert_eq!(count(0, HOUR - 1), 1);
        assert_eq!(count(HOUR - 1, HOUR), 2);
        assert_eq!(count(HOUR, 3 * HOUR), 3);
        assert_eq!(count(Timestamp::MAX.millis(), Timestamp::MAX.millis()), 1);
    }

    #[test]
    fn a_range_of_too_many_hours_or_backwards_is_refused() {
        let last = HOUR * i64::try_from(MAX_HOURS - 1).unwrap();
        assert_eq!(hours_between(at(0), at(last)).unwrap().len(), MAX_HOURS);
        let error = hours_between(at(0), at(last + HOUR)).unwrap_err().to_string();
        assert!(error.contains("more than 10000 hours"), "{error}");
        let error = hours_between(at(1), at(0)).unwrap_err().to_string();
        assert!(error.contains("exchange them"), "{error}");
    }

    #[test]
    fn a_table_has_its_numbers_under_one_another() {
        insta::assert_snapshot!(Format::Table.write(&rows()), @r#"
        hour                  unique_users  clicks    impressions
        2015-05-17T10:00:00Z             3      12  1234567890123
        2015-05-17T11:00:00Z             0       0              0
        "#);
    }

    #[test]
    fn csv_has_a_header() {
        insta::assert_snapshot!(Format::Csv.write(&rows()), @r#"
        hour,unique_users,clicks,impressions
        2015-05-17T10:00:00Z,3,12,1234567890123
        2015-05-17T11:00:00Z,0,0,0
        "#);
    }

    #[test]
    fn json_is_an_array_of_objects() {
        insta::assert_snapshot!(Format::Json.write(&rows()), @r#"
        [
          {
            "hour": "2015-05-17T10:00:00Z",
            "unique_users": 3,
            "clicks": 12,
            "impressions": 1234567890123
          },
          {
            "hour": "2015-05-17T11:00:00Z",
            "unique_users": 0,
            "clicks": 0,
            "impressions": 0
          }
        ]
        "#);
    }
}
