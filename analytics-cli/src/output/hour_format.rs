//! Hours and their counts, as people and programs read them.

use std::fmt::Write;

use clap::ValueEnum;
use model::{Hour, HourCounts, HourRow};
use serde::Serialize;

use super::{
    json::pretty_json,
    palette::Palette,
    table::{self, Side},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HourFormat {
    /// Columns for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// An array of objects.
    Json,
}

#[derive(Serialize)]
struct Written {
    hour: Hour,
    #[serde(flatten)]
    counts: HourCounts,
}

impl HourFormat {
    pub(crate) fn write(self, hours: &[HourRow], palette: Palette) -> String {
        match self {
            Self::Table => {
                let header = [
                    ("hour", Side::Left),
                    ("unique_users", Side::Right),
                    ("clicks", Side::Right),
                    ("impressions", Side::Right),
                ];
                let row = |HourRow { hour, counts, .. }: &HourRow| {
                    [
                        hour.to_string(),
                        counts.unique_users.to_string(),
                        counts.clicks.to_string(),
                        counts.impressions.to_string(),
                    ]
                };
                table::layout(header, &hours.iter().map(row).collect::<Vec<_>>(), palette)
            }
            Self::Csv => {
                let mut text = "hour,unique_users,clicks,impressions\n".to_owned();
                for HourRow { hour, counts: HourCounts { unique_users, clicks, impressions }, .. } in hours {
                    writeln!(text, "{hour},{unique_users},{clicks},{impressions}")
                        .expect("writing into memory cannot fail");
                }
                text
            }
            Self::Json => {
                let hours: Vec<Written> =
                    hours.iter().map(|row| Written { hour: row.hour, counts: row.counts }).collect();
                pretty_json(&hours)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Hour, HourCounts, HourRow, Timestamp};

    use super::HourFormat;
    use crate::output::palette::Palette;

    fn rows() -> [HourRow; 2] {
        let first = Hour::containing(Timestamp::from_millis(1_431_857_103_000).unwrap());
        let row = |hour, counts| HourRow { hour, counts, settled: false };
        [
            row(first, HourCounts { unique_users: 3, clicks: 12, impressions: 1_234_567_890_123 }),
            row(first.next().unwrap(), HourCounts::default()),
        ]
    }

    #[test]
    fn a_table_has_its_numbers_under_one_another() {
        insta::assert_snapshot!(HourFormat::Table.write(&rows(), Palette::PLAIN), @r#"
        hour                  unique_users  clicks    impressions
        2015-05-17T10:00:00Z             3      12  1234567890123
        2015-05-17T11:00:00Z             0       0              0
        "#);
    }

    #[test]
    fn csv_has_a_header() {
        insta::assert_snapshot!(HourFormat::Csv.write(&rows(), Palette::PLAIN), @r#"
        hour,unique_users,clicks,impressions
        2015-05-17T10:00:00Z,3,12,1234567890123
        2015-05-17T11:00:00Z,0,0,0
        "#);
    }

    #[test]
    fn json_is_an_array_of_objects() {
        insta::assert_snapshot!(HourFormat::Json.write(&rows(), Palette::PLAIN), @r#"
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
