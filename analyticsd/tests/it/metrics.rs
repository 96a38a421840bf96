// The compared values are whole numbers.
#![allow(clippy::float_cmp)]

use std::{collections::HashSet, time::Duration};

use chrono::Utc;
use db::{Flavour, Retention};
use harness::{Daemon, TestDatabase, on_both_flavours, server_dir};
use reqwest::{Method, StatusCode, header::CONTENT_LENGTH};
use tokio::{
    io::AsyncWriteExt,
    time::{sleep, timeout},
};

use crate::{
    raw::{connect, connect_and_send, read_to_the_end},
    support::{at, stored_events},
};

on_both_flavours!(the_metrics_are_what_was_sent, the_settler_exports_its_backlog_and_its_work);

/// Waits until a metric has a value.
async fn wait_for(daemon: &Daemon, name: &str, is_there: impl Fn(Option<f64>) -> bool) {
    let waiting = async {
        while !is_there(daemon.metric(name).await) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let came = timeout(Duration::from_mins(1), waiting).await.is_ok();
    assert!(came, "{name} stays at {:?}", daemon.metric(name).await);
}

/// The sum of a family's series that have all these labels.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let samples =
        metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let chosen = samples.filter(|line| labels.iter().all(|label| line.contains(label)));
    chosen.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

async fn post_under_key(daemon: &Daemon, url: &str, key: &str) -> StatusCode {
    let http = reqwest::Client::new();
    http.post(format!("{}{url}", daemon.url())).header("Idempotency-Key", key).send().await.unwrap().status()
}

async fn the_metrics_are_what_was_sent(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    // The settler is idle meanwhile.
    let daemon =
        Daemon::start_with(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0", "--settle-after", "1h"])
            .await;
    let (now, past) = (Utc::now(), at("2015-05-17T10:00:00Z"));

    for user in ["anna", "ben", "carl"] {
        assert_eq!(daemon.post(now, user, "click").await, StatusCode::NO_CONTENT);
    }
    assert_eq!(daemon.post(past, "anna", "impression").await, StatusCode::NO_CONTENT);
    assert_eq!(daemon.post(past, "anna", "neither").await, StatusCode::BAD_REQUEST);
    let line = r#"{"timestamp":1431857103000,"user":"anna","event":"impression"}"#;
    assert_eq!(daemon.post_batch(format!("{line}\n").repeat(5)).await.status(), StatusCode::NO_CONTENT);
    let keyed = format!("/analytics?timestamp={}&user=anna&event=click", past.timestamp_millis());
    assert_eq!(post_under_key(&daemon, &keyed, "one").await, StatusCode::NO_CONTENT);
    assert_eq!(post_under_key(&daemon, &keyed, "one").await, StatusCode::NO_CONTENT);
    let other = keyed.replace("click", "impression");
    assert_eq!(post_under_key(&daemon, &other, "one").await, StatusCode::CONFLICT);
    daemon.counts(now).await;
    daemon.counts(past).await;
    assert_eq!(daemon.get("/analytics/hours").await.status(), StatusCode::OK);
    assert_eq!(daemon.get("/nothing/here").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(daemon.get("/analytics/batch").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(daemon.get("/").await.status(), StatusCode::OK);

    let metrics = daemon.metrics().await;
    let requests = |labels: &[&str]| sum(&metrics, "analyticsd_http_requests_total", labels);
    for (expected, labels) in [
        (6.0, [r#"route="/analytics""#, r#"method="POST""#, r#"status="204""#]),
        (1.0, [r#"route="/analytics""#, r#"method="POST""#, r#"status="400""#]),
        (1.0, [r#"route="/analytics""#, r#"method="POST""#, r#"status="409""#]),
        (2.0, [r#"route="/analytics""#, r#"method="GET""#, r#"status="200""#]),
        (1.0, [r#"route="/analytics/batch""#, r#"method="POST""#, r#"status="204""#]),
        (1.0, [r#"route="/analytics/batch""#, r#"method="GET""#, r#"status="405""#]),
        (1.0, [r#"route="/analytics/hours""#, r#"method="GET""#, r#"status="200""#]),
        (1.0, [r#"route="unknown""#, r#"method="GET""#, r#"status="404""#]),
        (1.0, [r#"route="/""#, r#"method="GET""#, r#"status="200""#]),
    ] {
        assert_eq!(requests(&labels), expected, "{labels:?}\n{metrics}");
    }
    assert_eq!(requests(&[]), 15.0, "and no others");
    assert_eq!(sum(&metrics, "analyticsd_http_request_duration_seconds_count", &[]), 15.0);
    assert!(sum(&metrics, "analyticsd_http_request_duration_seconds_sum", &[]) > 0.0);
    // The request for metrics is under way itself.
    assert_eq!(sum(&metrics, "analyticsd_http_requests_under_way", &[]), 1.0);

    for (reason, expected) in
        [("invalid", 1.0), ("conflict", 1.0), ("not_found", 1.0), ("method_not_allowed", 1.0), ("too_busy", 0.0)]
    {
        let label = format!("reason=\"{reason}\"");
        assert_eq!(sum(&metrics, "analyticsd_refusals_total", &[&label]), expected, "{reason}");
    }
    assert_eq!(sum(&metrics, "analyticsd_refusals_total", &[]), 4.0);

    let stored = |labels: &[&str]| sum(&metrics, "analyticsd_events_stored_total", labels);
    assert_eq!(stored(&[r#"lane="present""#, r#"event="click""#]), 3.0);
    assert_eq!(stored(&[r#"lane="past""#, r#"event="impression""#]), 1.0);
    assert_eq!(stored(&[r#"lane="bulk""#, r#"event="impression""#]), 5.0);
    assert_eq!(stored(&[r#"lane="keyed""#, r#"event="click""#]), 1.0);
    assert_eq!(stored(&[]), 10.0, "and no others");
    assert_eq!(sum(&metrics, "analyticsd_events_repeated_total", &[r#"lane="keyed""#]), 1.0);

    assert_eq!(sum(&metrics, "analyticsd_commit_events_sum", &[]), 10.0, "each event is in one commit");
    let stored_commits = sum(&metrics, "analyticsd_commits_total", &[r#"outcome="stored""#]);
    assert_eq!(sum(&metrics, "analyticsd_commit_events_count", &[]), stored_commits);
    // The events came one after the other.
    assert_eq!(stored_commits, 6.0);
    assert_eq!(sum(&metrics, "analyticsd_commit_events_bucket", &[r#"lane="bulk""#, r#"le="2.0""#]), 0.0);
    assert_eq!(sum(&metrics, "analyticsd_commit_events_bucket", &[r#"lane="bulk""#, r#"le="5.0""#]), 1.0);
    assert_eq!(sum(&metrics, "analyticsd_commit_events_bucket", &[r#"lane="bulk""#, r#"le="+Inf""#]), 1.0);
    assert_eq!(sum(&metrics, "analyticsd_commits_total", &[r#"lane="keyed""#, r#"outcome="claimed""#]), 2.0);
    assert_eq!(sum(&metrics, "analyticsd_commit_duration_seconds_count", &[]), 8.0);

    assert_eq!(sum(&metrics, "analyticsd_read_questions_total", &[]), 2.0);
    assert_eq!(sum(&metrics, "analyticsd_read_hours_sum", &[]), 2.0);
    assert_eq!(sum(&metrics, "analyticsd_read_duration_seconds_count", &[r#"lane="past""#]), 1.0);
    assert_eq!(sum(&metrics, "analyticsd_report_duration_seconds_count", &[]), 1.0);

    assert_eq!(sum(&metrics, "analyticsd_queue_requests", &[]), 0.0);
    assert_eq!(sum(&metrics, "analyticsd_queue_limit_requests", &[r#"queue="present""#]), 16_384.0);
    assert_eq!(sum(&metrics, "analyticsd_queue_limit_requests", &[r#"queue="bulk""#]), 32.0);
    assert_eq!(sum(&metrics, "analyticsd_database_pool_limit_connections", &[r#"pool="events""#]), 8.0);
    assert_eq!(sum(&metrics, "analyticsd_database_pool_connections", &[r#"pool="reports""#, r#"state="idle""#]), 1.0);
    assert_eq!(sum(&metrics, "analyticsd_body_budget_used_bytes", &[]), 0.0);
    assert_eq!(sum(&metrics, "analyticsd_connections_limit", &[r#"listener="public""#]), 10_000.0);
    assert!(sum(&metrics, "analyticsd_connections_open", &[r#"listener="public""#]) >= 1.0);
    let answered = sum(&metrics, "analyticsd_database_last_answer_timestamp_seconds", &[]);
    assert!((answered - f64::from(u32::try_from(now.timestamp()).unwrap())).abs() < 600.0, "{answered}");
    assert!(sum(&metrics, "analyticsd_schema_version", &[]) >= 8.0);
    assert!(sum(&metrics, "process_resident_memory_bytes", &[]) > 1e6);
    assert!(sum(&metrics, "process_open_fds", &[]) > 5.0);
    assert!(metrics.ends_with("# EOF\n"));
}

async fn the_settler_exports_its_backlog_and_its_work(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let arguments = ["--database-url", database.url(), "--admin-listen", "127.0.0.1:0", "--settle-after"];
    let daemon = Daemon::start_with(arguments.into_iter().chain(["1h"])).await;
    for hour in ["2015-05-17T10:00:00Z", "2015-05-17T11:00:00Z"] {
        assert_eq!(daemon.post(at(hour), "anna", "click").await, StatusCode::NO_CONTENT);
    }
    wait_for(&daemon, "analyticsd_open_hours", |hours| hours == Some(2.0)).await;
    assert_eq!(daemon.metric("analyticsd_ripe_hours").await, Some(0.0), "they were written to just now");
    assert_eq!(daemon.metric("analyticsd_settler_lag_seconds").await, Some(0.0));

    // Another replica is not the settler, so it does not export this. With the WebAssembly database all clients share
    // one session, so every replica is elected.
    if flavour == Flavour::Postgres {
        let second = Daemon::start_with(arguments.into_iter().chain(["1h"])).await;
        assert_eq!(second.metric("analyticsd_settler_elected").await, Some(0.0));
        assert_eq!(second.metric("analyticsd_open_hours").await, None);
        assert!(second.terminate().await.success());
    }
    assert!(daemon.terminate().await.success());

    let daemon = Daemon::start_with(arguments.into_iter().chain(["0s"])).await;
    wait_for(&daemon, "analyticsd_settled_hours_total", |hours| hours == Some(2.0)).await;
    wait_for(&daemon, "analyticsd_open_hours", |hours| hours == Some(0.0)).await;
    assert_eq!(daemon.metric("analyticsd_settler_elected").await, Some(1.0));
    assert!(daemon.metric("analyticsd_settler_last_success_timestamp_seconds").await > Some(1e9));

    assert_eq!(daemon.post(at("2015-05-17T10:00:00Z"), "ben", "click").await, StatusCode::NO_CONTENT);
    assert_eq!(daemon.metric("analyticsd_reopening_duration_seconds_count").await, Some(1.0));
    assert_eq!(daemon.metric("analyticsd_reopenings_under_way").await, Some(0.0));
    assert_eq!(daemon.metric("analyticsd_commits_total{lane=\"past\",outcome=\"blocked\"}").await, Some(1.0));
}

#[tokio::test]
async fn overdue_raw_events_are_exported_until_they_can_be_deleted() {
    const OVERDUE: &str = "analyticsd_retention_overdue_seconds";
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    let arguments = ["--database-url", database.url(), "--admin-listen", "127.0.0.1:0", "--settle-after"];
    let daemon = Daemon::start_with(arguments.into_iter().chain(["1h"])).await;
    assert_eq!(daemon.post(at("2015-05-17T10:00:00Z"), "anna", "click").await, StatusCode::NO_CONTENT);
    wait_for(&daemon, OVERDUE, |seconds| seconds == Some(0.0)).await;
    Retention { keep: Some(Duration::from_hours(48)), columnstore_after: None }.write(store).await.unwrap();
    Retention::apply(store).await.unwrap();
    wait_for(&daemon, OVERDUE, |seconds| seconds > Some(86_400.0 * 365.0)).await;
    assert_eq!(daemon.post(at("2015-05-17T10:00:00Z"), "ben", "click").await, StatusCode::BAD_REQUEST);
    assert_eq!(daemon.metric("analyticsd_tidying_failures_total").await, Some(0.0));
    assert!(daemon.terminate().await.success());

    let daemon = Daemon::start_with(arguments.into_iter().chain(["0s"])).await;
    wait_for(&daemon, "analyticsd_settled_hours_total", |hours| hours == Some(1.0)).await;
    Retention::apply(store).await.unwrap();
    wait_for(&daemon, OVERDUE, |seconds| seconds == Some(0.0)).await;
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn clients_cannot_create_series() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0"]).await;
    let names = |metrics: &str| {
        let samples = metrics.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<HashSet<_>>()
    };
    // One request of each kind, so that all series of unknown routes exist.
    let http = reqwest::Client::new();
    let ask = async |method: &str, path: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        http.request(method, format!("{}{path}", daemon.url()))
            .header(CONTENT_LENGTH, "0")
            .send()
            .await
            .unwrap()
            .status()
    };
    for method in ["GET", "POST", "BREW"] {
        ask(method, "/unknown").await;
    }
    ask("BREW", "/analytics").await;
    // Metrics that only the settler exports.
    wait_for(&daemon, "analyticsd_settler_lag_seconds", |lag| lag.is_some()).await;
    let before = names(&daemon.metrics().await);

    for number in 0..50 {
        for method in ["GET", "POST", "BREW", &format!("M{number}")] {
            for path in [
                format!("/{number}"),
                format!("/analytics/{number}"),
                format!("/%0Aanalyticsd_forged_{number}%20{number}"),
                format!("//analytics?x={number}"),
                format!("/ANALYTICS{number}"),
                format!("/\u{9b}{number}"),
                "/analytics\"}".to_owned(),
            ] {
                let status = ask(method, &path).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}");
            }
        }
        let raw =
            format!("M{number} /analytics?timestamp={number} HTTP/1.1\r\nHost: x{number}\r\nConnection: close\r\n\r\n");
        let answer =
            read_to_the_end(&mut connect_and_send(&daemon, raw.as_bytes()).await, Duration::from_secs(10)).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
    let after = names(&daemon.metrics().await);
    let added: Vec<_> = after.iter().filter(|name| !before.contains(*name)).collect();
    assert!(added.is_empty(), "{added:?}");
}

#[tokio::test]
async fn connections_that_are_refused_and_requests_that_are_given_up_are_counted() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with([
        "--database-url",
        database.url(),
        "--admin-listen",
        "127.0.0.1:0",
        "--max-connections",
        "1",
    ])
    .await;
    // A batch that never ends.
    let mut inside = connect(&daemon).await;
    inside
        .write_all(b"POST /analytics/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        .await
        .unwrap();
    wait_for(&daemon, "analyticsd_http_requests_under_way", |requests| requests == Some(2.0)).await;
    assert_eq!(daemon.metric("analyticsd_connections_open{listener=\"public\"}").await, Some(1.0));
    let refused = read_to_the_end(&mut connect(&daemon).await, Duration::from_secs(10)).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let refusals = "analyticsd_connections_refused_total{listener=\"public\",limit=\"all\",answer=\"503\"}";
    assert_eq!(daemon.metric(refusals).await, Some(1.0));

    // A reset: after a mere close the daemon could still answer.
    inside.set_zero_linger().unwrap();
    drop(inside);
    wait_for(&daemon, "analyticsd_connections_open{listener=\"public\"}", |open| open == Some(0.0)).await;
    let requests = |metrics: &str| sum(metrics, "analyticsd_http_requests_total", &[r#"route="/analytics/batch""#]);
    assert_eq!(requests(&daemon.metrics().await), 1.0);
    wait_for(&daemon, "analyticsd_http_requests_under_way", |requests| requests == Some(1.0)).await;
}

#[tokio::test]
async fn broken_connections_are_counted_by_reason() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let arguments = ["--admin-listen", "127.0.0.1:0", "--header-timeout", "1s", "--header-bytes", "8192"];
    let daemon = Daemon::start_with(["--database-url", database.url()].iter().chain(&arguments)).await;
    let long_head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    for (sent, reason) in [
        ("nonsense\r\n\r\n", "malformed"),
        (&long_head, "too_large"),
        ("GET / HTTP/1.1\r\n", "timeout"),
        ("GET / HTTP/1.1\r\nHo", "incomplete"),
    ] {
        let mut stream = connect_and_send(&daemon, sent.as_bytes()).await;
        if reason == "incomplete" {
            stream.shutdown().await.unwrap();
        }
        read_to_the_end(&mut stream, Duration::from_secs(20)).await;
        let counter = format!("analyticsd_connections_broken_total{{listener=\"public\",reason=\"{reason}\"}}");
        wait_for(&daemon, &counter, |broken| broken == Some(1.0)).await;
    }
    let good = connect_and_send(&daemon, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    read_to_the_end(&mut { good }, Duration::from_secs(20)).await;
    wait_for(&daemon, "analyticsd_connections_open{listener=\"public\"}", |open| open == Some(0.0)).await;
    let broken = sum(&daemon.metrics().await, "analyticsd_connections_broken_total", &[r#"listener="public""#]);
    assert_eq!(broken, 4.0, "a connection that ends after its answer is not broken");
}

#[tokio::test]
async fn the_spools_content_and_the_reasons_of_refusals_are_exported() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let dir = server_dir();
    let spool = dir.path().join("spool");
    let daemon = Daemon::start_with([
        "--database-url",
        "postgres://nobody@127.0.0.1:1/nothing",
        "--admin-listen",
        "127.0.0.1:0",
        "--spool",
        spool.to_str().unwrap(),
        "--spool-size",
        "1000",
        // It never read the tokens.
        "--allow-anonymous",
    ])
    .await;
    assert_eq!(daemon.metric("analyticsd_spool_oldest_age_seconds").await, Some(0.0));
    let mut spooled = 0.0;
    let now = Utc::now();
    while daemon.post(now, "anna", "click").await == StatusCode::ACCEPTED {
        spooled += 1.0;
    }
    assert!(spooled > 0.0);
    let metrics = daemon.metrics().await;
    assert_eq!(sum(&metrics, "analyticsd_spooled_requests", &[]), spooled);
    assert_eq!(sum(&metrics, "analyticsd_spool_limit_bytes", &[]), 1_000.0);
    let used = sum(&metrics, "analyticsd_spool_used_bytes", &[]);
    assert!(used > 500.0 && used <= 1_000.0, "{used}");
    assert_eq!(sum(&metrics, "analyticsd_http_requests_total", &[r#"status="202""#]), spooled);
    assert_eq!(sum(&metrics, "analyticsd_refusals_total", &[r#"reason="unavailable""#]), 1.0, "the spool is full");
    assert_eq!(sum(&metrics, "analyticsd_database_last_answer_timestamp_seconds", &[]), 0.0);
    assert_eq!(sum(&metrics, "analyticsd_schema_version", &[]), 0.0);
    wait_for(&daemon, "analyticsd_spool_oldest_age_seconds", |age| age > Some(0.0)).await;
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(daemon.metric("analyticsd_refusals_total{reason=\"not_ready\"}").await, Some(1.0));
    daemon.kill().await;

    let daemon = Daemon::start_with([
        "--database-url",
        database.url(),
        "--admin-listen",
        "127.0.0.1:0",
        "--spool",
        spool.to_str().unwrap(),
    ])
    .await;
    wait_for(&daemon, "analyticsd_spooled_requests", |requests| requests == Some(0.0)).await;
    let metrics = daemon.metrics().await;
    assert_eq!(sum(&metrics, "analyticsd_events_stored_total", &[r#"lane="spool""#]), spooled);
    assert_eq!(sum(&metrics, "analyticsd_spool_oldest_age_seconds", &[]), 0.0);
}
