use std::fmt::Write;

use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours};
use model::{
    Problem,
    wire::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_HOURS},
};
use reqwest::StatusCode;

use crate::support::{at, counts, stored_events};

on_both_flavours!(a_batch_is_stored_and_counted_whole);

fn line(millis: i64, user: &str, event: &str) -> String {
    format!("{{\"timestamp\":{millis},\"user\":\"{user}\",\"event\":\"{event}\"}}\n")
}

const TEN: i64 = 1_431_856_800_000;

async fn a_batch_is_stored_and_counted_whole(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start(database.url()).await;
    let mut body = String::new();
    for n in 0..5_000 {
        body += &line(TEN + n * 1_000, &format!("user-{}", n % 700), if n % 2 == 0 { "click" } else { "impression" });
    }
    // Lines may end with CR LF, some may be empty, and the last may have no newline.
    body += "\r\n";
    body += line(TEN, "last", "click").trim_end();
    assert_eq!(daemon.post_batch(body).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(stored_events(&database).await, 5_001);
    assert_eq!(daemon.counts(at("2015-05-17T10:30:00Z")).await, counts(701, 1_801, 1_800));
    assert_eq!(daemon.counts(at("2015-05-17T11:00:00Z")).await, counts(700, 700, 700));
}

#[tokio::test]
async fn an_empty_batch_is_accepted_and_stores_nothing() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for body in ["", "\n", "\r\n\r\n"] {
        assert_eq!(daemon.post_batch(body).await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn a_bad_line_gets_400_with_its_number_and_nothing_of_the_batch_is_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let table = [
        ("not json".to_owned(), None, "not an event"),
        ("{\"timestamp\":1,\"user\":\"a\"}".to_owned(), None, "missing field `event`"),
        (line(-1, "a", "click"), Some("timestamp"), "is negative"),
        (line(1, "", "click"), Some("user"), "is empty"),
        (line(1, &"x".repeat(257), "click"), Some("user"), "has 257 bytes"),
        (line(1, "a", "Click"), Some("event"), "is unknown"),
    ];
    for (bad, parameter, fault) in table {
        let body =
            format!("{}\n{}{bad}\n{}", line(TEN, "a", "click"), line(TEN, "b", "click"), line(TEN, "c", "click"));
        let answer = daemon.post_batch(body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
        let problem: Problem = answer.json().await.unwrap();
        assert_eq!((problem.line, problem.parameter.as_deref()), (Some(4), parameter), "{bad}");
        assert!(problem.detail.starts_with("Line 4: ") && problem.detail.contains(fault), "{problem:?}");
    }
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn a_batch_beyond_a_limit_gets_413_which_names_the_limit_and_nothing_is_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut too_many = String::new();
    for n in 0..=MAX_BATCH_EVENTS {
        too_many += &line(TEN, &n.to_string(), "click");
    }
    let mut too_many_hours = String::new();
    for n in 0..=i64::try_from(MAX_BATCH_HOURS).unwrap() {
        too_many_hours += &line(TEN + n * 3_600_000, "a", "click");
    }
    let mut too_long = String::new();
    while too_long.len() <= MAX_BATCH_BYTES {
        let _ = writeln!(
            too_long,
            "{{\"timestamp\":1,\"user\":\"a\",\"event\":\"click\",\"more\":\"{}\"}}",
            "x".repeat(10_000)
        );
    }
    for (body, limit) in [(too_many, MAX_BATCH_EVENTS), (too_many_hours, MAX_BATCH_HOURS), (too_long, MAX_BATCH_BYTES)]
    {
        let answer = daemon.post_batch(body).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{limit}");
        let problem: Problem = answer.json().await.unwrap();
        assert!(problem.detail.contains(&limit.to_string()), "{problem:?}");
    }
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn the_largest_batch_is_accepted() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut body = String::new();
    for n in 0..MAX_BATCH_EVENTS {
        let hour = i64::try_from(n % MAX_BATCH_HOURS).unwrap();
        body += &line(TEN + hour * 3_600_000, &format!("{n:0256}"), "click");
    }
    assert_eq!(daemon.post_batch(body).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(stored_events(&database).await, i64::try_from(MAX_BATCH_EVENTS).unwrap());
}
