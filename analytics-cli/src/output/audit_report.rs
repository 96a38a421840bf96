use std::fmt::Write;

use clap::ValueEnum;
use db::{AuditedHour, Tally};
use model::Hour;
use serde::Serialize;

use super::{
    palette::Palette,
    table::{self, Side},
};

/// Hours are written one after the other, so that none must be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuditFormat {
    /// For people: what differs, and the numbers in columns.
    Table,
    /// Comma-separated values with a header, one hour a line.
    Csv,
    /// One JSON object a line.
    Json,
}

#[derive(Serialize)]
struct JsonHour<'a> {
    hour: String,
    /// Where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<usize>,
    /// Empty for the site without a name.
    site: &'a str,
    state: &'static str,
    raw: Tally,
    counters: Option<Tally>,
    settled: Option<Tally>,
    aggregate: Option<Tally>,
    visitors_in_set: Option<i64>,
    user_rows: i64,
    missing_users: i64,
    strange_users: i64,
    differences: Vec<String>,
}

impl AuditFormat {
    /// `names_shards`: the counter has several, of which each hour names its own.
    pub(crate) fn header(self, names_shards: bool) -> String {
        match self {
            Self::Csv => format!(
                "hour,state,raw_users,raw_clicks,raw_impressions,counted_users,counted_clicks,counted_impressions,\
                 settled_users,settled_clicks,settled_impressions,aggregate_users,aggregate_clicks,aggregate_impressions,visitors_in_set,user_rows,missing_users,strange_users,differences,site{}\n",
                if names_shards { ",shard" } else { "" }
            ),
            Self::Table | Self::Json => String::new(),
        }
    }

    /// The site without a name is called ''.
    pub(crate) fn write(self, site: &str, shard: Option<usize>, audited: &AuditedHour, palette: Palette) -> String {
        let AuditedHour {
            site_hour,
            raw,
            counters,
            settled,
            aggregate,
            visitors_in_set,
            user_rows,
            missing_users,
            strange_users,
            ..
        } = *audited;
        let hour = site_hour.hour;
        let state = state(audited);
        let differences: Vec<String> = audited.differences().iter().map(ToString::to_string).collect();
        let in_set = visitors_in_set.map(|visitors| visitors.to_string());
        match self {
            Self::Table => {
                let of_shard = shard.map(|shard| format!(" in shard {shard}")).unwrap_or_default();
                let mut text = format!("{}{of_shard}, {state}: {}\n", hour_of_site(hour, site), differences.join("; "));
                let header = [
                    ("", Side::Left),
                    ("unique_users", Side::Right),
                    ("clicks", Side::Right),
                    ("impressions", Side::Right),
                ];
                let rows = [
                    numbers("raw events", Some(raw)),
                    numbers("counters", counters),
                    numbers("settled", settled),
                    numbers("aggregate", aggregate),
                    [
                        "set of visitors".to_owned(),
                        in_set.clone().unwrap_or("-".to_owned()),
                        String::new(),
                        String::new(),
                    ],
                    ["user names kept".to_owned(), user_rows.to_string(), String::new(), String::new()],
                ];
                for line in table::layout(header, &rows, palette).lines() {
                    writeln!(text, "  {line}").expect("writing into memory cannot fail");
                }
                text
            }
            Self::Csv => {
                let columns = [Some(raw), counters, settled, aggregate].map(|tally| {
                    tally.map_or(",,".to_owned(), |Tally { unique_users, clicks, impressions }| {
                        format!("{unique_users},{clicks},{impressions}")
                    })
                });
                let (columns, differences, in_set) =
                    (columns.join(","), differences.join("; "), in_set.unwrap_or_default());
                let shard = shard.map(|shard| format!(",{shard}")).unwrap_or_default();
                format!(
                    "{hour},{state},{columns},{in_set},{user_rows},{missing_users},{strange_users},\"{differences}\",{site}{shard}\n"
                )
            }
            Self::Json => {
                let row = JsonHour {
                    hour: hour.to_string(),
                    shard,
                    site,
                    state,
                    raw,
                    counters,
                    settled,
                    aggregate,
                    visitors_in_set,
                    user_rows,
                    missing_users,
                    strange_users,
                    differences,
                };
                let json = serde_json::to_string(&row).expect("strings and integers can be written as JSON");
                format!("{json}\n")
            }
        }
    }
}

/// An hour and, if it has a name, its site.
pub(crate) fn hour_of_site(hour: Hour, site: &str) -> String {
    if site.is_empty() { hour.to_string() } else { format!("{hour} of {site}") }
}

fn state(audited: &AuditedHour) -> &'static str {
    match (audited.is_open(), audited.is_settled()) {
        (true, false) => "open",
        (false, true) => "settled",
        (true, true) => "open and settled",
        (false, false) => "neither open nor settled",
    }
}

fn numbers(name: &str, tally: Option<Tally>) -> [String; 4] {
    let number = |number: fn(Tally) -> i64| tally.map_or("-".to_owned(), |tally| number(tally).to_string());
    [name.to_owned(), number(|t| t.unique_users), number(|t| t.clicks), number(|t| t.impressions)]
}

#[cfg(test)]
mod tests {
    use db::{AuditedHour, Tally};
    use model::{Hour, SiteHour, Timestamp};

    use super::AuditFormat;
    use crate::output::palette::Palette;

    fn audited() -> AuditedHour {
        AuditedHour {
            site_hour: SiteHour::nameless(Hour::containing(Timestamp::from_millis(1_431_857_103_000).unwrap())),
            is_verifiable: true,
            settled: None,
            visitors_in_set: None,
            is_closed: false,
            raw: Tally { unique_users: 2, clicks: 12, impressions: 1 },
            counters: Some(Tally { unique_users: 2, clicks: 13, impressions: -1 }),
            aggregate: None,
            user_rows: 2,
            missing_users: 1,
            strange_users: 1,
            foreign_users: 0,
        }
    }

    #[test]
    fn for_people_an_hour_is_a_sentence_and_its_numbers_in_columns() {
        insta::assert_snapshot!(AuditFormat::Table.write("shop", None, &audited(), Palette::PLAIN), @r#"
        2015-05-17T10:00:00Z of shop, open: its counters differ from its raw events; its kept user names differ from its raw events (1 missing, 1 that no raw event has)
                           unique_users  clicks  impressions
          raw events                  2      12            1
          counters                    2      13           -1
          settled                     -       -            -
          aggregate                   -       -            -
          set of visitors             -
          user names kept             2
        "#);
    }

    #[test]
    fn csv_has_as_many_columns_as_its_header() {
        insta::assert_snapshot!(format!("{}{}", AuditFormat::Csv.header(false), AuditFormat::Csv.write("shop", None, &audited(), Palette::PLAIN)), @r#"
        hour,state,raw_users,raw_clicks,raw_impressions,counted_users,counted_clicks,counted_impressions,settled_users,settled_clicks,settled_impressions,aggregate_users,aggregate_clicks,aggregate_impressions,visitors_in_set,user_rows,missing_users,strange_users,differences,site
        2015-05-17T10:00:00Z,open,2,12,1,2,13,-1,,,,,,,,2,1,1,"its counters differ from its raw events; its kept user names differ from its raw events (1 missing, 1 that no raw event has)",shop
        "#);
    }

    #[test]
    fn json_is_an_object_a_line() {
        insta::assert_snapshot!(AuditFormat::Json.write("shop", None, &audited(), Palette::PLAIN), @r#"{"hour":"2015-05-17T10:00:00Z","site":"shop","state":"open","raw":{"unique_users":2,"clicks":12,"impressions":1},"counters":{"unique_users":2,"clicks":13,"impressions":-1},"settled":null,"aggregate":null,"visitors_in_set":null,"user_rows":2,"missing_users":1,"strange_users":1,"differences":["its counters differ from its raw events","its kept user names differ from its raw events (1 missing, 1 that no raw event has)"]}"#);
    }
}
