use db::Flavour;
use futures_util::future;
use harness::{Daemon, TestDatabase, on_both_flavours, settle};
use model::{Hour, HoursPage, Problem, Totals};
use reqwest::{
    Response, StatusCode,
    header::{ACCEPT, IF_NONE_MATCH},
};

use crate::support::at;

on_both_flavours!(
    every_hour_of_a_range_is_there_as_json_and_as_csv,
    unique_users_of_a_range_are_those_of_all_its_hours_together,
    settled_hours_have_a_tag_and_are_not_sent_again,
);

const TEN: &str = "2015-05-17T10:00:00Z";
const ELEVEN: &str = "2015-05-17T11:30:00Z";
const RANGE: &str = "/analytics/hours?from=2015-05-17T10:59:59.999Z&to=2015-05-17T12:00:00Z";

async fn page(daemon: &Daemon, path: &str) -> HoursPage {
    let response = daemon.get(path).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

async fn with_events(flavour: Flavour) -> (TestDatabase, Daemon) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "1h"]).await;
    for (time, user, event) in [(TEN, "anna", "click"), (ELEVEN, "anna", "impression"), (ELEVEN, "ben", "click")] {
        assert_eq!(daemon.post(at(time), user, event).await, StatusCode::NO_CONTENT);
    }
    (database, daemon)
}

async fn every_hour_of_a_range_is_there_as_json_and_as_csv(flavour: Flavour) {
    let (_database, daemon) = with_events(flavour).await;
    let whole = page(&daemon, RANGE).await;
    let hours: Vec<_> = whole.hours.iter().map(|row| (row.hour.to_string(), row.counts.clicks)).collect();
    let hour = |text: &str, clicks| (text.to_owned(), clicks);
    let expected = [hour("2015-05-17T10:00:00Z", 1), hour("2015-05-17T11:00:00Z", 1), hour("2015-05-17T12:00:00Z", 0)];
    assert_eq!(hours, expected);
    assert_eq!(whole.totals, Totals { clicks: 2, impressions: 1 });
    assert_eq!((whole.unique_users, whole.next), (Some(2), None));

    let csv = "hour,unique_users,clicks,impressions\n2015-05-17T10:00:00Z,1,1,0\n2015-05-17T11:00:00Z,2,1,1\n2015-05-17T12:00:00Z,0,0,0\n";
    let asked = daemon.get(&format!("{RANGE}&format=csv")).await;
    assert_eq!(asked.headers()["content-type"], "text/csv; charset=utf-8");
    assert_eq!(asked.text().await.unwrap(), csv);
    let url = format!("{}{RANGE}", daemon.url());
    let accepted = reqwest::Client::new().get(url).header(ACCEPT, "text/csv, */*;q=0.1").send().await.unwrap();
    assert_eq!(accepted.text().await.unwrap(), csv);
}

async fn unique_users_of_a_range_are_those_of_all_its_hours_together(flavour: Flavour) {
    let (database, daemon) = with_events(flavour).await;
    let client = database.client().await;
    for open in [2, 1] {
        let page = page(&daemon, RANGE).await;
        assert_eq!((page.unique_users, page.unique_users_unknown_in), (Some(2), vec![]), "anna came in two hours");
        settle(&client, if open == 2 { TEN } else { "2015-05-17T11:00:00Z" }, &[0]).await;
    }
    assert_eq!(page(&daemon, RANGE).await.unique_users, Some(2));
    // As an hour is that was settled before it was kept who was seen.
    client
        .batch_execute("update analytics.settled_hours set visitors = null where hour = '2015-05-17T11:00Z'")
        .await
        .unwrap();
    let page = page(&daemon, RANGE).await;
    let unknown: Hour = "2015-05-17T11:00:00Z".parse().unwrap();
    assert_eq!((page.unique_users, page.unique_users_unknown_in), (None, vec![unknown]));
}

async fn settled_hours_have_a_tag_and_are_not_sent_again(flavour: Flavour) {
    let (database, daemon) = with_events(flavour).await;
    let path = "/analytics/hours?from=2015-05-17T10:00:00Z&to=2015-05-17T10:00:00Z";
    let open = daemon.get(path).await;
    assert!(open.headers().get("etag").is_none(), "an hour that is open has no tag");
    assert_eq!(open.headers()["cache-control"], "no-store");

    let client = database.client().await;
    settle(&client, "2015-05-17T10:00:00Z", &[0]).await;
    let settled = daemon.get(path).await;
    let tag = settled.headers()["etag"].clone();
    assert!(settled.json::<HoursPage>().await.unwrap().hours[0].settled);
    let with_silence = daemon.get("/analytics/hours?from=2015-05-17T08:00:00Z&to=2015-05-17T10:00:00Z").await;
    assert!(with_silence.headers().contains_key("etag"), "past hours without events are never settled");
    let now = daemon.get("/analytics/hours").await;
    assert!(!now.headers().contains_key("etag"), "the current hour may have an event at any moment");
    let ask_again = async || -> Response {
        let url = format!("{}{path}", daemon.url());
        reqwest::Client::new().get(url).header(IF_NONE_MATCH, &tag).send().await.unwrap()
    };
    let again = ask_again().await;
    assert_eq!((again.status(), again.text().await.unwrap().as_str()), (StatusCode::NOT_MODIFIED, ""));

    assert_eq!(daemon.post(at(TEN), "late", "click").await, StatusCode::NO_CONTENT);
    assert_eq!(ask_again().await.status(), StatusCode::OK, "a late event is seen at once");
}

#[tokio::test]
async fn without_a_range_it_returns_the_last_day_with_the_current_hour() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let now = chrono::Utc::now();
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
    let day = page(&daemon, "/analytics/hours").await;
    assert_eq!(day.hours.len(), 24);
    assert_eq!(day.totals.clicks, 1);
    assert!(now.signed_duration_since(day.to.start().to_utc()) < chrono::TimeDelta::hours(2));
}

#[tokio::test]
async fn a_long_range_comes_in_pages_that_name_the_next_one() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut next = Some("/analytics/hours?from=2015-01-01T00:00:00Z&to=2015-04-01T00:00:00Z".to_owned());
    let mut hours: Vec<Hour> = Vec::new();
    while let Some(path) = next {
        let page = page(&daemon, &path).await;
        assert!(page.hours.len() <= HoursPage::MAX_HOURS);
        hours.extend(page.hours.iter().map(|row| row.hour));
        next = page.next;
    }
    assert_eq!(hours.len(), 90 * 24 + 1);
    assert!(hours.windows(2).all(|pair| pair[0].next() == Some(pair[1])), "none is left out and none comes twice");

    let csv = daemon.get("/analytics/hours?from=2014-01-01T00:00:00Z&to=2015-01-01T00:00:00Z&format=csv").await;
    let link = csv.headers()["link"].to_str().unwrap().to_owned();
    assert_eq!(link, "</analytics/hours?from=2014-02-11T16:00:00Z&to=2015-01-01T00:00:00Z&format=csv>; rel=\"next\"");
}

#[tokio::test]
async fn an_error_names_the_parameter_and_the_accepted_values() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (query, parameter) in [
        ("from=yesterday", "from"),
        ("to=", "to"),
        ("to=1&to=2", "to"),
        ("from=7200000&to=0", "from"),
        ("format=xml", "format"),
        ("from=1960-01-01T00:00:00Z&to=0", "from"),
    ] {
        let refused = daemon.get(&format!("/analytics/hours?{query}")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(refused.json::<Problem>().await.unwrap().parameter.as_deref(), Some(parameter), "{query}");
    }
}

/// Two ranges are read at a time. Were the others to wait for a connection, they would take the database for one that
/// is away.
#[tokio::test]
async fn many_ranges_at_once_wait_for_their_turn() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let client = database.client().await;
    client.batch_execute("begin; lock analytics.settled_hours").await.unwrap();
    let ranges = future::join_all((0..6).map(|_| daemon.get(RANGE)));
    // Longer than anybody waits for a connection.
    let release = async {
        client.batch_execute("select pg_sleep(6)").await.unwrap();
        client.batch_execute("rollback").await.unwrap();
    };
    let (answers, ()) = future::join(ranges, release).await;
    for answer in answers {
        assert_eq!(answer.status(), StatusCode::OK);
    }
}
