use chrono::{DateTime, TimeDelta, Utc};
use db::{Flavour, Retention, Store, StoreOptions};
use harness::{Daemon, TestDatabase};
use model::Problem;
use reqwest::StatusCode;

use crate::{
    spool::{Away, until_replayed},
    support::{at, counts, stored_events},
};

const LIMITS: [&str; 4] = ["--max-age", "2days", "--max-future", "1h"];

/// Timestamps around both ends of the accepted range, further from them than a test takes, and whether each is
/// accepted.
fn around_the_ends(now: DateTime<Utc>) -> [(DateTime<Utc>, bool); 6] {
    let (days, minutes) = (TimeDelta::days, TimeDelta::minutes);
    [
        (at("1970-01-01T00:00:00Z"), false),
        (now - days(2) - minutes(1), false),
        (now - days(2) + minutes(10), true),
        (now + minutes(59), true),
        (now + minutes(70), false),
        (at("9999-12-31T23:59:59Z"), false),
    ]
}

fn line(at: DateTime<Utc>) -> String {
    format!("{{\"timestamp\":{},\"user\":\"anna\",\"event\":\"click\"}}\n", at.timestamp_millis())
}

async fn limited_daemon(database: &TestDatabase) -> Daemon {
    Daemon::start_with(["--database-url", database.url()].iter().chain(&LIMITS)).await
}

/// The accepted range in the daemon's answer.
fn ends(problem: &Problem) -> [DateTime<Utc>; 2] {
    let words: Vec<&str> = problem.accepted.as_deref().unwrap().split([' ', ',']).collect();
    [words[1], words[3]].map(at)
}

#[tokio::test]
async fn an_event_beyond_the_limits_gets_400_with_what_is_accepted_and_is_not_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = limited_daemon(&database).await;
    let now = Utc::now();
    for (event, is_accepted) in around_the_ends(now) {
        let path = format!("{}/analytics?timestamp={}&user=a&event=click", daemon.url(), event.timestamp_millis());
        let answer = reqwest::Client::new().post(path).send().await.unwrap();
        if is_accepted {
            assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{event}");
            continue;
        }
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{event}");
        let problem: Problem = answer.json().await.unwrap();
        assert_eq!(problem.parameter.as_deref(), Some("timestamp"));
        let [first, last] = ends(&problem);
        assert!(first > event || last < event, "{problem:?}");
        assert_eq!(last - first, TimeDelta::days(2) + TimeDelta::hours(1), "{problem:?}");
        assert!(problem.detail.contains("this server accepts") && !problem.detail.contains("--"), "{problem:?}");
    }
    assert_eq!(stored_events(&database).await, 2);

    let pixel = daemon.get("/analytics.gif").await;
    assert_eq!(pixel.status(), StatusCode::OK);
    assert_eq!(stored_events(&database).await, 3, "a current event is within all limits");
    for (event, is_accepted) in around_the_ends(now) {
        let pixel = daemon.get(&format!("/analytics.gif?timestamp={}", event.timestamp_millis())).await;
        assert_eq!(pixel.status(), if is_accepted { StatusCode::OK } else { StatusCode::BAD_REQUEST }, "{event}");
    }
    for (hour, _) in around_the_ends(now) {
        let asked = daemon.get(&format!("/analytics?timestamp={}", hour.timestamp_millis())).await;
        assert_eq!(asked.status(), StatusCode::OK, "every hour can be read");
    }
}

#[tokio::test]
async fn a_batch_with_an_event_beyond_the_limits_is_refused_with_its_line_and_none_of_it_is_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = limited_daemon(&database).await;
    let now = Utc::now();
    for (event, is_accepted) in around_the_ends(now) {
        let answer = daemon.post_batch(format!("{}\n{}{}", line(now), line(event), line(now))).await;
        if is_accepted {
            assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{event}");
            continue;
        }
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{event}");
        let problem: Problem = answer.json().await.unwrap();
        assert_eq!((problem.parameter.as_deref(), problem.line), (Some("timestamp"), Some(3)), "{problem:?}");
        assert!(problem.detail.starts_with("Line 3: timestamp is "), "{problem:?}");
        assert!(problem.detail.ends_with("Nothing of the batch was stored."), "{problem:?}");
    }
    assert_eq!(stored_events(&database).await, 2 * 3, "two batches are accepted");
}

#[tokio::test]
async fn a_spooled_event_is_stored_though_it_is_beyond_the_limits_by_then() {
    let mut database = Away::not_yet().await;
    let daemon = database.daemon(&[]).await;
    database.go().await;
    let late = at("2015-05-17T10:00:00Z");
    assert_eq!(daemon.post(late, "anna", "click").await, StatusCode::ACCEPTED);
    assert!(daemon.terminate().await.success());

    let daemon = database.daemon(&LIMITS).await;
    assert_eq!(daemon.post(late, "ben", "click").await, StatusCode::BAD_REQUEST);
    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(daemon.counts(late).await, counts(1, 1, 0));
}

#[tokio::test]
async fn an_event_of_a_day_whose_raw_events_are_no_longer_kept_gets_400_and_the_counts_of_its_hour_stay() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "0s"]).await;
    let (old, now) = (at("2015-05-17T10:05:03Z"), Utc::now());
    for user in ["anna", "ben"] {
        assert_eq!(daemon.post(old, user, "click").await, StatusCode::NO_CONTENT);
    }
    // Only settled hours may lose their raw events.
    let settled = "select exists (select from analytics.settled_hours)";
    let client = database.client().await;
    while !client.query_one(settled, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let store = Store::new(database.url(), StoreOptions::default()).unwrap();
    let keep = Some(std::time::Duration::from_hours(24 * 400));
    Retention { keep, columnstore_after: None }.write(&store).await.unwrap();
    let accepts_from = Retention::apply(&store).await.unwrap().kept_from;
    assert_eq!(stored_events(&database).await, 0);

    let url = format!("{}/analytics?timestamp={}&user=carl&event=click", daemon.url(), old.timestamp_millis());
    let single = reqwest::Client::new().post(url).send().await.unwrap();
    let batch = daemon.post_batch(line(now) + &line(old)).await;
    for answer in [single, batch] {
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let problem: Problem = answer.json().await.unwrap();
        assert_eq!(problem.parameter.as_deref(), Some("timestamp"));
        let bound = accepts_from.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        assert_eq!(problem.accepted, Some(format!("from {bound} on, in milliseconds since 1970")));
        for part in ["retention", "timestamp 1431857103000 (2015-05-17T10:05:03.000Z)", &format!("from {bound} on.")] {
            assert!(problem.detail.contains(part), "{problem:?}");
        }
    }
    assert_eq!(stored_events(&database).await, 0);
    assert_eq!(daemon.counts(old).await, counts(2, 2, 0));
    assert_eq!(daemon.counts(now).await, counts(0, 0, 0), "nothing of the batch is counted");
}
