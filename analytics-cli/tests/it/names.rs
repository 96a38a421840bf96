use std::fmt::Write;

use chrono::DateTime;
use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours};

use crate::{Run, command};

on_both_flavours!(every_name_is_kept_byte_for_byte_on_every_way_in_and_no_two_become_one);

const MILLIS: i64 = 1_431_857_103_000;

/// Names that something on the way might decode, trim, fold, normalize, escape or cut.
const SHORT_NAMES: &[&str] = &[
    // Case, space and normal forms.
    "anna",
    "Anna",
    "ANNA",
    " anna",
    "anna ",
    "anna\t",
    "an na",
    "anna\u{a0}",
    "anna\u{200b}",
    "anna\u{feff}",
    "\u{feff}anna",
    " ",
    "  ",
    "\t",
    "é",
    "e\u{301}",
    "Å",
    "A\u{30a}",
    "\u{212b}",
    "ﬁ",
    "fi",
    "ß",
    "ss",
    "ẞ",
    "İ",
    "i\u{307}",
    "ı",
    "i",
    "한",
    "\u{1112}\u{1161}\u{11ab}",
    "①",
    "1",
    "１",
    // What URLs, forms, JSON, CSV and SQL mean something by.
    "a+b",
    "a b",
    "a%20b",
    "a%2Bb",
    "%",
    "%%",
    "%zz",
    "%00",
    "%25",
    "&",
    "a&user=b",
    "=",
    "a=b",
    "#",
    "?",
    ";",
    "/",
    "//",
    "../..",
    "\"",
    "'",
    "''",
    "\\",
    "\\\\",
    "\\n",
    "\\u0041",
    "\\0",
    "`",
    "$1",
    "$$",
    ",",
    "a,b",
    "\"a,b\"",
    "{}",
    "{a,b}",
    "NULL",
    "null",
    "(1,2)",
    "'; drop table analytics.events; --",
    "' or '1'='1",
    "<script>alert(1)</script>",
    "-",
    "--help",
    "-1",
    "0",
    "00",
    "1e5",
    "true",
    // Marks that are not seen, and characters that are made of several.
    "\u{202e}anna",
    "anna\u{202e}",
    "\u{200f}anna",
    "\u{2066}anna\u{2069}",
    "أنا",
    "שלום",
    "👩\u{200d}👩\u{200d}👧\u{200d}👦",
    "👩👩👧👦",
    "🏳\u{fe0f}\u{200d}🌈",
    "🏳",
    "❤",
    "❤\u{fe0f}",
    "🇩🇪",
    "👍🏽",
    "👍",
    "Z\u{351}\u{36b}\u{343}a\u{363}",
    "\u{301}",
    "\u{200d}",
    "\u{e000}",
    "\u{fffd}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{10000}",
    "\u{10ffff}",
    "\u{1}",
    "\u{7f}",
    "\u{80}",
    "\u{85}",
    "\u{2028}",
    "\u{1b}[31m",
    // Line ends.
    "\n",
    "a\nb",
    "a\rb",
    "a\r\nb",
    "a\n",
    "a\r",
];

/// Those, and names of the greatest length.
fn hard_names() -> Vec<String> {
    let long = [
        "x".repeat(256),
        "ü".repeat(128),
        "\u{1f600}".repeat(64),
        "\u{1}".repeat(256),
        "%".repeat(256),
        "\"\\".repeat(128),
        "\u{10ffff}".repeat(64),
    ];
    SHORT_NAMES.iter().map(|&name| name.to_owned()).chain(long).collect()
}

async fn import(daemon: &Daemon, format: &str, text: String) {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("names");
    std::fs::write(&file, text).unwrap();
    let mut import = command(&["import", "--format", format, file.to_str().unwrap()]);
    import.env("ANALYTICS_SERVER", daemon.url());
    let run: Run = tokio::task::spawn_blocking(move || import.output().unwrap().into()).await.unwrap();
    assert_eq!(run.code, 0, "{}", run.stderr);
}

async fn every_name_is_kept_byte_for_byte_on_every_way_in_and_no_two_become_one(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start(database.url()).await;
    let mut names = hard_names();
    let instant = DateTime::from_timestamp_millis(MILLIS).unwrap();
    let (mut ndjson, mut csv) = (String::new(), "timestamp,user,event\n".to_owned());
    for name in &names {
        assert_eq!(daemon.post(instant, name, "click").await.as_u16(), 204, "{name:?}");
        writeln!(ndjson, "{}", serde_json::json!({"timestamp": MILLIS, "user": name, "event": "impression"})).unwrap();
        writeln!(csv, "{MILLIS},\"{}\",click", name.replace('"', "\"\"")).unwrap();
    }
    assert_eq!(daemon.post_batch(ndjson.clone()).await.status().as_u16(), 204);
    import(&daemon, "ndjson", ndjson).await;
    import(&daemon, "csv", csv).await;

    let stored = "select user_name, count(*) from analytics.events group by user_name order by user_name";
    let rows = database.client().await.query(stored, &[]).await.unwrap();
    let seen: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    names.sort();
    let expected: Vec<(String, i64)> = names.into_iter().map(|name| (name, 4)).collect();
    assert_eq!(seen, expected);
    let counted = daemon.counts(instant).await;
    let each = expected.len() as u64;
    assert_eq!((counted.unique_users, counted.clicks, counted.impressions), (each, each * 2, each * 2));
}
