//! Raw events of a settled hour were deleted by hand, or a clock was wrong.

use std::{fs, fs::File, time::Duration};

use chrono::Utc;
use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours, server_dir};
use reqwest::StatusCode;
use tokio::time::{sleep, timeout};

use crate::support::{at, counts};

on_both_flavours!(a_late_event_of_an_hour_that_lost_raw_events_is_refused_and_lowers_no_count);

async fn a_late_event_of_an_hour_that_lost_raw_events_is_refused_and_lowers_no_count(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    let (hour, late) = (at("2024-02-07T10:00:00Z"), at("2024-02-07T10:30:00Z"));
    let dir = server_dir();
    let log = dir.path().join("log");
    let mut command = Daemon::command();
    command
        .args(["--database-url", database.url(), "--settle-after", "0s", "--admin-listen", "127.0.0.1:0"])
        .stderr(File::create(&log).unwrap());
    let daemon = Daemon::start_command_with_log(command).await;
    for user in ["a", "b", "c", "d", "e"] {
        assert_eq!(daemon.post(hour, user, "click").await, StatusCode::NO_CONTENT);
    }
    let settled = "select exists (select from analytics.settled_hours where hour = $1)";
    while !client.query_one(settled, &[&hour]).await.unwrap().get::<_, bool>(0) {
        sleep(Duration::from_millis(50)).await;
    }
    let dropped = match flavour {
        Flavour::Timescale => "select drop_chunks('analytics.events', older_than => timestamptz '2024-02-09 00:00+00')",
        Flavour::Postgres => "drop table analytics.events_20240207",
    };
    client.batch_execute(dropped).await.unwrap();

    for _ in 0..3 {
        let line = format!("{{\"timestamp\":{},\"user\":\"f\",\"event\":\"click\"}}", late.timestamp_millis());
        let refused = daemon.post_batch(line).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let problem = refused.text().await.unwrap();
        assert!(problem.contains("raw events are not complete on the server"), "{problem}");
        assert_eq!(daemon.post(late, "f", "click").await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(daemon.counts(hour).await, counts(5, 5, 0));
    assert_eq!(daemon.post(at("2024-02-07T11:00:00Z"), "f", "click").await, StatusCode::NO_CONTENT, "others are taken");
    let until_reported = async {
        while daemon.metric("analyticsd_audit_mismatched_hours").await != Some(1.0) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_mins(1), until_reported).await.expect("the metric shows one hour");
    let written = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> =
        written.lines().filter(|line| line.contains("raw events of a settled hour are missing")).collect();
    assert_eq!(lines.len(), 1, "{written}");
    assert!(lines[0].contains("ERROR") && lines[0].contains("2024-02-07T10:00:00Z"), "{}", lines[0]);
}

/// An earlier version let a wrong clock move it.
#[tokio::test]
async fn a_daemon_that_refuses_current_events_is_not_ready() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let client = database.client().await;
    let daemon = Daemon::start_with(["--database-url", database.url()]).await;
    let ready = async || reqwest::get(format!("{}/readyz", daemon.url())).await.unwrap();
    assert_eq!(ready().await.status(), StatusCode::OK);
    client.batch_execute("update analytics.settings set accepts_from = now() + interval '470 days'").await.unwrap();
    assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::BAD_REQUEST);
    let found = async {
        loop {
            let answer = ready().await;
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                return answer.text().await.unwrap();
            }
        }
    };
    let message = timeout(Duration::from_mins(1), found).await.expect("it stops being ready");
    assert!(message.contains("retention confirm"), "{message}");
    db::Retention::confirm(database.store()).await.unwrap();
    assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::NO_CONTENT);
    let again = async { while ready().await.status() != StatusCode::OK {} };
    timeout(Duration::from_mins(1), again).await.expect("it is ready again");
}
