use std::{fs, fs::File, path::Path, time::Duration};

use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours, server_dir};
use reqwest::StatusCode;
use tokio::time::{sleep, timeout};

use crate::support::{at, counts};

on_both_flavours!(an_hour_whose_counters_were_tampered_with_is_reported_and_stays_open);

/// Waits for a line of the log with a text, and returns it.
async fn line_with(log: &Path, text: &str) -> String {
    let search = async {
        loop {
            let written = fs::read_to_string(log).unwrap();
            // The last line may be half written.
            let complete = written.rfind('\n').map_or("", |end| &written[..end]);
            if let Some(line) = complete.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_mins(1), search).await.unwrap_or_else(|_| panic!("the log has no line with {text:?}"))
}

async fn an_hour_whose_counters_were_tampered_with_is_reported_and_stays_open(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let (tampered, sound) = (at("2015-05-17T10:00:00Z"), at("2015-05-17T11:00:00Z"));
    // This daemon leaves hours open long enough to tamper with one.
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "1h"]).await;
    for (hour, user, event) in
        [(tampered, "anna", "click"), (tampered, "ben", "impression"), (sound, "anna", "impression")]
    {
        assert_eq!(daemon.post(hour, user, event).await, StatusCode::NO_CONTENT);
    }
    let client = database.client().await;
    let tamper = "update analytics.hour_counts set clicks = clicks + 7 where hour = $1";
    assert_eq!(client.execute(tamper, &[&tampered]).await.unwrap(), 1);
    assert!(daemon.terminate().await.success());

    let dir = server_dir();
    let log = dir.path().join("log");
    let mut command = Daemon::command();
    command
        .args(["--database-url", database.url(), "--settle-after", "0s", "--admin-listen", "127.0.0.1:0"])
        .stderr(File::create(&log).unwrap());
    let daemon = Daemon::start_command_with_log(command).await;
    let line = line_with(&log, "the counters of an hour differ from its raw events").await;
    assert!(line.contains("ERROR") && line.contains("hour=2015-05-17T10:00:00Z"), "{line}");
    assert!(line.contains("clicks: 8") && line.contains("clicks: 1,"), "the line has both sides: {line}");

    // The other hour comes later, and is settled all the same.
    let settled = "select array_agg(hour) from analytics.settled_hours";
    let settling = async {
        loop {
            let hours: Option<Vec<chrono::DateTime<chrono::Utc>>> =
                client.query_one(settled, &[]).await.unwrap().get(0);
            if let Some(hours) = hours {
                return hours;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(timeout(Duration::from_mins(1), settling).await.expect("the sound hour settles"), [sound]);
    let until_reported = async {
        while daemon.metric("analyticsd_audit_mismatched_hours").await != Some(1.0) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_mins(1), until_reported).await.expect("the metric shows one hour");
    assert!(daemon.metric("analyticsd_audit_mismatches_total").await >= Some(1.0));
    assert_eq!(daemon.counts(tampered).await, counts(2, 8, 1), "the counters are not repaired silently");
    assert_eq!(daemon.post(tampered, "carl", "click").await, StatusCode::NO_CONTENT, "it still accepts events");
    assert_eq!(daemon.counts(tampered).await, counts(3, 9, 1));
}
