use db::{Flavour, Sites};
use harness::{Daemon, TestDatabase, on_both_flavours};
use model::{Problem, SiteName, SourceList};
use reqwest::{Response, StatusCode};

use crate::{
    spool::Away,
    support::{at, counts},
};

on_both_flavours!(
    what_a_source_sends_again_is_stored_once,
    parts_of_a_source_that_overtake_each_other_are_stored_in_order,
);

const TEN: i64 = 1_431_856_800_000;
const HOUR: &str = "2015-05-17T10:30:00Z";

/// `events` clicks of as many visitors.
fn clicks(events: u64) -> String {
    let line = |n| format!("{{\"timestamp\":{TEN},\"user\":\"u{n}\",\"event\":\"click\"}}\n");
    (0..events).map(line).collect::<Vec<_>>().concat()
}

async fn send(daemon: &Daemon, query: &str, body: String) -> Response {
    let url = format!("{}/analytics/batch?{query}", daemon.url());
    daemon.http().post(url).body(body).send().await.unwrap()
}

fn repeated(answer: &Response) -> Option<&str> {
    answer.headers().get("analytics-repeated").map(|value| value.to_str().unwrap())
}

async fn listed(daemon: &Daemon, query: &str) -> Vec<(String, u64, Option<String>)> {
    let list: SourceList = daemon.get(&format!("/analytics/sources?{query}")).await.json().await.unwrap();
    assert!(list.is_whole);
    list.sources.into_iter().map(|source| (source.name, source.position, source.check)).collect()
}

async fn what_a_source_sends_again_is_stored_once(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start(database.url()).await;
    let first = "source=log&from=0&to=30&check=aa";
    let second = "source=log&from=30&from_check=aa&to=70&check=bb";
    for (query, events, is_repeated) in [
        (first, 3, None),
        (first, 3, Some("clicks=3, impressions=0")),
        (second, 4, None),
        (first, 3, Some("clicks=3, impressions=0, position=70")),
        (second, 4, Some("clicks=4, impressions=0")),
    ] {
        let answer = send(&daemon, query, clicks(events)).await;
        assert_eq!((answer.status(), repeated(&answer)), (StatusCode::NO_CONTENT, is_repeated), "{query}");
    }
    for elsewhere in [
        "source=log&from=0&to=90&check=cc",
        "source=log&from=70&from_check=cc&to=90&check=dd",
        "source=log&from=70&to=90",
        "source=log&from=30&from_check=aa&to=70&check=cc",
    ] {
        let answer = send(&daemon, elsewhere, clicks(1)).await;
        assert_eq!(answer.status(), StatusCode::CONFLICT, "{elsewhere}");
        let problem: Problem = answer.json().await.unwrap();
        assert_eq!((problem.position, problem.check.as_deref()), (Some(70), Some("bb")), "{problem:?}");
    }
    assert_eq!(daemon.counts(at(HOUR)).await, counts(4, 7, 0));
    assert_eq!(listed(&daemon, "prefix=log").await, [("log".to_owned(), 70, Some("bb".to_owned()))]);
    assert_eq!(listed(&daemon, "prefix=other").await, []);
}

async fn parts_of_a_source_that_overtake_each_other_are_stored_in_order(flavour: Flavour) {
    const PARTS: u64 = 12;
    let database = TestDatabase::new(flavour).await;
    // Half of them come to another daemon.
    let daemons = [Daemon::start(database.url()).await, Daemon::start(database.url()).await];
    let part = |n: u64| format!("source=queue&from={}&to={}", n * 10, n * 10 + 10);
    let daemons = &daemons;
    let sent = (0..PARTS).rev().map(async |n| {
        let daemon = &daemons[usize::try_from(n % 2).unwrap()];
        send(daemon, &part(n), clicks(n + 1)).await
    });
    let answers = futures_util::future::join_all(sent).await;
    let statuses: Vec<StatusCode> = answers.iter().map(Response::status).collect();
    assert!(statuses.iter().all(|status| *status == StatusCode::NO_CONTENT), "{statuses:?}");
    assert!(answers.iter().all(|answer| repeated(answer).is_none()));
    assert_eq!(daemons[0].counts(at(HOUR)).await, counts(PARTS, PARTS * (PARTS + 1) / 2, 0));
    assert_eq!(listed(&daemons[0], "prefix=queue").await, [("queue".to_owned(), PARTS * 10, None)]);
}

#[tokio::test]
async fn a_part_whose_beginning_never_comes_is_refused_with_where_its_source_stands() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    assert_eq!(send(&daemon, "source=a&from=0&to=5", clicks(1)).await.status(), StatusCode::NO_CONTENT);
    let answer = send(&daemon, "source=a&from=7&to=9", clicks(1)).await;
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(answer.json::<Problem>().await.unwrap().position, Some(5));
    assert_eq!(daemon.counts(at(HOUR)).await, counts(1, 1, 0));
}

#[tokio::test]
async fn a_source_moves_past_what_holds_no_event() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for body in ["", "\n\n"] {
        assert_eq!(send(&daemon, "source=a&from=0&to=5", body.to_owned()).await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(send(&daemon, "source=a&from=5&to=6", clicks(1)).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(listed(&daemon, "prefix=a").await, [("a".to_owned(), 6, None)]);
}

#[tokio::test]
async fn events_of_a_source_keep_their_own_keys() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let keyed = |user: &str, key: &str| {
        format!("{{\"timestamp\":{TEN},\"user\":\"{user}\",\"event\":\"impression\",\"id\":\"{key}\"}}\n")
    };
    assert_eq!(send(&daemon, "", keyed("anna", "k1")).await.status(), StatusCode::NO_CONTENT);
    let answer = send(&daemon, "source=a&from=0&to=5", keyed("anna", "k1") + &keyed("ben", "k2")).await;
    assert_eq!((answer.status(), repeated(&answer)), (StatusCode::NO_CONTENT, Some("clicks=0, impressions=1")));
    let all_repeated = send(&daemon, "source=a&from=5&to=6", keyed("ben", "k2")).await;
    assert_eq!(repeated(&all_repeated), Some("clicks=0, impressions=1"));
    assert_eq!(listed(&daemon, "prefix=a").await, [("a".to_owned(), 6, None)]);
    assert_eq!(daemon.counts(at(HOUR)).await, counts(2, 0, 2));
}

#[tokio::test]
async fn what_is_no_part_of_a_source_is_refused_with_the_reason() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (query, parameter, fault) in [
        ("source=&from=0&to=1", "source", "is empty"),
        ("from=0&to=1", "from", "is given without source"),
        ("check=aa", "check", "is given without source"),
        ("source=analyticsd:spool:a&from=0&to=1", "source", "begins with analyticsd:"),
        ("source=a&to=1", "from", "is missing"),
        ("source=a&from=0", "to", "is missing"),
        ("source=a&from=0&to=%2B1", "to", "is no such number"),
        ("source=a&from=0&to=9223372036854775808", "to", "is no such number"),
        ("source=a&from=1&to=1", "to", "is not behind from"),
        ("source=a&from=0&to=1&check=0", "check", "is not a whole number of bytes"),
        ("source=a&from=1&to=2&from_check=xy", "from_check", "holds something else"),
        ("source=a&from=0&to=2&from_check=aa", "from_check", "is of no content"),
        ("source=a&from=1&to=2&from_check=aa", "check", "is missing"),
        ("source=a&from=0&to=2&id=k", "source", "is given with an idempotency key"),
    ] {
        let answer = send(&daemon, query, clicks(1)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        let problem: Problem = answer.json().await.unwrap();
        assert_eq!(problem.parameter.as_deref(), Some(parameter), "{problem:?}");
        assert!(problem.detail.contains(fault), "{problem:?}");
    }
    assert_eq!(daemon.get("/analytics/sources").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(daemon.counts(at(HOUR)).await, counts(0, 0, 0));
}

#[tokio::test]
async fn a_source_is_not_spooled_since_its_sender_has_it() {
    let mut away = Away::not_yet().await;
    let daemon = away.daemon(&[]).await;
    let part = "source=a&from=0&to=5";
    assert_eq!(send(&daemon, "", clicks(1)).await.status(), StatusCode::NO_CONTENT);
    away.go().await;
    assert_eq!(send(&daemon, "", clicks(1)).await.status(), StatusCode::ACCEPTED);
    assert_eq!(send(&daemon, part, clicks(1)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    away.come_back().await;
    while send(&daemon, part, clicks(1)).await.status() != StatusCode::NO_CONTENT {}
    while daemon.counts(at(HOUR)).await != counts(1, 3, 0) {}
}

#[tokio::test]
async fn each_site_has_sources_of_its_own() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    for site in ["shop", "blog"] {
        Sites(database.store()).create(&SiteName::new(site).unwrap(), None).await.unwrap();
    }
    let daemon = Daemon::start(database.url()).await;
    for site in ["shop", "blog"] {
        assert_eq!(listed(&daemon, &format!("prefix=log&site={site}")).await, []);
        let answer = send(&daemon, &format!("site={site}&source=log&from=0&to=5"), clicks(1)).await;
        assert_eq!((answer.status(), repeated(&answer)), (StatusCode::NO_CONTENT, None));
        assert_eq!(listed(&daemon, &format!("prefix=log&site={site}")).await, [("log".to_owned(), 5, None)]);
    }
    assert_eq!(listed(&daemon, "prefix=log").await, []);
}
