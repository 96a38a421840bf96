//! Periods and their counts, as people and programs read them.

use std::fmt::Write;

use clap::ValueEnum;
use model::{Period, Step};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    json::pretty_json,
    palette::Palette,
    table::{self, Side},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeriodFormat {
    /// Columns for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// An array of objects.
    Json,
}

/// The member that says which period it is is named after the step.
struct Written<'a>(Step, &'a Period);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(step, period) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(&step.to_string(), &label(*step, period))?;
        map.serialize_entry("unique_users", &period.unique_users)?;
        map.serialize_entry("clicks", &period.clicks)?;
        map.serialize_entry("impressions", &period.impressions)?;
        map.end()
    }
}

impl PeriodFormat {
    /// A table that is wider than the terminal is shortened.
    pub(crate) fn write(self, step: Step, periods: &[Period], palette: Palette, width: usize) -> String {
        match self {
            Self::Table => {
                let whole = table("unique_users", label, step, periods, palette);
                let fits = whole.lines().last().is_none_or(|line| line.chars().count() <= width);
                if fits { whole } else { table("users", short_label, step, periods, palette) }
            }
            Self::Csv => {
                let mut text = format!("{step},unique_users,clicks,impressions\n");
                for period in periods {
                    let users = period.unique_users.map(|users| users.to_string()).unwrap_or_default();
                    writeln!(text, "{},{users},{},{}", label(step, period), period.clicks, period.impressions)
                        .expect("writing into memory cannot fail");
                }
                text
            }
            Self::Json => pretty_json(&periods.iter().map(|period| Written(step, period)).collect::<Vec<_>>()),
        }
    }
}

fn table(users: &str, label: fn(Step, &Period) -> String, step: Step, periods: &[Period], palette: Palette) -> String {
    let step_name = step.to_string();
    let header =
        [(step_name.as_str(), Side::Left), (users, Side::Right), ("clicks", Side::Right), ("impressions", Side::Right)];
    let row = |period: &Period| {
        let users = period.unique_users.map_or("unknown".to_owned(), |users| users.to_string());
        [label(step, period), users, period.clicks.to_string(), period.impressions.to_string()]
    };
    table::layout(header, &periods.iter().map(row).collect::<Vec<_>>(), palette)
}

/// The hour without its year and its offset from UTC, or as [`label`].
fn short_label(step: Step, period: &Period) -> String {
    let short = period.start.get("2015-".len().."2015-05-17T10:00".len());
    short.filter(|_| step == Step::Hour).map_or_else(|| label(step, period), str::to_owned)
}

/// The hour as RFC 3339, the day, the Monday of the week, or the month.
pub(crate) fn label(step: Step, period: &Period) -> String {
    let start = &period.start;
    let first = |length| start.get(..length).unwrap_or(start).to_owned();
    match step {
        Step::Hour => start.strip_suffix("+00:00").map_or_else(|| start.clone(), |utc| format!("{utc}Z")),
        Step::Day | Step::Week => first("2015-05-17".len()),
        Step::Month => first("2015-05".len()),
    }
}

#[cfg(test)]
mod tests {
    use model::{Hour, Period, Step};

    use super::{PeriodFormat, label};
    use crate::output::palette::Palette;

    fn period(start: &str, unique_users: Option<u64>, clicks: u64, impressions: u64) -> Period {
        let hour: Hour = "2015-05-17T10:00:00Z".parse().unwrap();
        Period { start: start.to_owned(), from: hour, to: hour, unique_users, clicks, impressions, settled: false }
    }

    fn rows() -> [Period; 2] {
        [
            period("2015-05-17T10:00:00+00:00", Some(3), 12, 1_234_567_890_123),
            period("2015-05-17T11:00:00+00:00", None, 0, 0),
        ]
    }

    #[test]
    fn a_table_has_its_numbers_under_one_another() {
        insta::assert_snapshot!(PeriodFormat::Table.write(Step::Hour, &rows(), Palette::PLAIN, 80), @r#"
        hour                  unique_users  clicks    impressions
        2015-05-17T10:00:00Z             3      12  1234567890123
        2015-05-17T11:00:00Z       unknown       0              0
        "#);
    }

    #[test]
    fn a_narrow_terminal_has_a_shorter_table() {
        let rows = [period("2015-05-17T10:00:00+00:00", Some(3), 12, 1_234_567)];
        insta::assert_snapshot!(PeriodFormat::Table.write(Step::Hour, &rows, Palette::PLAIN, 40), @r#"
        hour         users  clicks  impressions
        05-17T10:00      3      12      1234567
        "#);
        let days = PeriodFormat::Table.write(Step::Day, &rows, Palette::PLAIN, 40);
        assert!(days.starts_with("day         users") && days.contains("\n2015-05-17 "), "{days}");
    }

    #[test]
    fn csv_has_a_header_and_leaves_out_what_nobody_knows() {
        insta::assert_snapshot!(PeriodFormat::Csv.write(Step::Hour, &rows(), Palette::PLAIN, 40), @r#"
        hour,unique_users,clicks,impressions
        2015-05-17T10:00:00Z,3,12,1234567890123
        2015-05-17T11:00:00Z,,0,0
        "#);
    }

    #[test]
    fn json_is_an_array_of_objects() {
        insta::assert_snapshot!(PeriodFormat::Json.write(Step::Day, &rows(), Palette::PLAIN, 40), @r#"
        [
          {
            "day": "2015-05-17",
            "unique_users": 3,
            "clicks": 12,
            "impressions": 1234567890123
          },
          {
            "day": "2015-05-17",
            "unique_users": null,
            "clicks": 0,
            "impressions": 0
          }
        ]
        "#);
    }

    #[test]
    fn a_period_is_named_by_what_it_is() {
        let label = |step, start: &str| label(step, &period(start, None, 0, 0));
        assert_eq!(label(Step::Hour, "2015-05-17T12:00:00+02:00"), "2015-05-17T12:00:00+02:00");
        assert_eq!(label(Step::Day, "2015-05-17T00:00:00+02:00"), "2015-05-17");
        assert_eq!(label(Step::Week, "2015-05-11T00:00:00+02:00"), "2015-05-11");
        assert_eq!(label(Step::Month, "2015-05-01T00:00:00+02:00"), "2015-05");
        assert_eq!(label(Step::Month, "é"), "é");
    }
}
