//! A real access log is imported with the real CLI into the real daemon, and counted once more here by brute force.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use chrono::DateTime;
use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours, program};
use model::{Hour, HourCounts, Timestamp};
use tokio::process::Command;

on_both_flavours!(every_hour_of_a_real_access_log_is_counted_as_by_brute_force);

const SITE: &str = "semicomplete.com";
const ASSETS: [&str; 31] = [
    "css", "js", "mjs", "map", "png", "jpg", "jpeg", "gif", "svg", "ico", "webp", "avif", "woff", "woff2", "ttf",
    "eot", "otf", "txt", "xml", "json", "pdf", "zip", "gz", "tgz", "mp3", "mp4", "jar", "exe", "deb", "swf", "doc",
];

/// The log is beside the project only where the project is developed.
fn log() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/apache_access.log");
    path.is_file().then_some(path)
}

/// Counts by splitting at spaces and quotes, independently of the importer's parser. Also returns the numbers of lines
/// without three quoted fields.
fn brute_force(text: &str) -> (BTreeMap<Hour, HourCounts>, Vec<usize>) {
    let mut hours: BTreeMap<Hour, (BTreeSet<&str>, u64, u64)> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let quoted: Vec<&str> = line.split('"').collect();
        if quoted.len() < 7 {
            unreadable.push(index + 1);
            continue;
        }
        let request: Vec<&str> = quoted[1].split(' ').collect();
        let status = quoted[2].split(' ').nth(1).unwrap();
        if request[0] != "GET" || !(status.starts_with('2') || status == "304") {
            continue;
        }
        let path = request[1].split(['?', '#']).next().unwrap();
        let last = path.rsplit('/').next().unwrap();
        let extension = last.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
        if extension.is_some_and(|extension| ASSETS.contains(&extension.as_str()) || extension == "webm") {
            continue;
        }
        let written = line.split(['[', ']']).nth(1).unwrap();
        let at = DateTime::parse_from_str(written, "%d/%b/%Y:%H:%M:%S %z").unwrap();
        let hour = Hour::containing(Timestamp::from_millis(at.timestamp_millis()).unwrap());
        let (users, clicks, impressions) = hours.entry(hour).or_default();
        users.insert(line.split(' ').next().unwrap());
        let referer_host = quoted[3].split('/').nth(2).unwrap_or_default().split(':').next().unwrap().to_lowercase();
        if referer_host.strip_prefix("www.").unwrap_or(&referer_host) == SITE {
            *clicks += 1;
        } else {
            *impressions += 1;
        }
    }
    let counts = hours.into_iter().map(|(hour, (users, clicks, impressions))| {
        (hour, HourCounts { unique_users: users.len() as u64, clicks, impressions })
    });
    (counts.collect(), unreadable)
}

async fn every_hour_of_a_real_access_log_is_counted_as_by_brute_force(flavour: Flavour) {
    let Some(log) = log() else {
        eprintln!("SKIPPED: the access log does not lie beside the project, at ../shared/data/apache_access.log");
        return;
    };
    let (expected, unreadable) = brute_force(&String::from_utf8_lossy(&fs::read(&log).unwrap()));
    assert_eq!(expected.len(), 84, "the log spans 84 hours");
    assert_eq!(unreadable, [8899], "in one line the last quote is not closed");

    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "0s"]).await;
    let import = Command::new(program("analytics-cli"))
        .args(["--server", daemon.url(), "import", "--format", "combined", "--own-host", SITE, "--batch-size", "500"])
        .arg(&log)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let message = String::from_utf8_lossy(&import.stderr);
    assert_eq!(import.status.code(), Some(1), "all but the unreadable line was imported: {message}");
    assert!(message.contains("8899"), "{message}");

    for (hour, expected) in &expected {
        assert_eq!(daemon.counts(hour.start().to_utc()).await, *expected, "{hour}");
    }
    let raw = database.store().brute_force_counts().await.unwrap();
    let raw: BTreeMap<Hour, HourCounts> = raw.into_iter().map(|(it, counts)| (it.hour, counts)).collect();
    assert_eq!(raw, expected, "the raw events are exactly those of the log");

    // And once more after every hour has moved to the hourly aggregate.
    let client = database.client().await;
    while client.query_one("select count(*) from analytics.hour_counts", &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for (hour, expected) in &expected {
        assert_eq!(daemon.counts(hour.start().to_utc()).await, *expected, "settled: {hour}");
    }
}
