use chrono::Utc;
use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::Problem;
use reqwest::{Method, StatusCode};

use crate::{
    support::{counts, stored_events},
    tokens::{closed, public_key, send},
};

async fn load(daemon: &Daemon, query: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = reqwest::Client::new().get(format!("{}/analytics.gif?{query}", daemon.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_pixel_records_an_impression_of_the_same_visitor_through_any_replica() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let replicas = [Daemon::start(database.url()).await, Daemon::start(database.url()).await];
    for daemon in &replicas {
        let pixel = load(daemon, "", &[("user-agent", "one")]).await;
        assert_eq!(pixel.status(), StatusCode::OK);
        assert_eq!(pixel.headers()["content-type"], "image/gif");
        assert_eq!(pixel.headers()["cache-control"], "no-store");
        assert_eq!(pixel.headers()["cross-origin-resource-policy"], "cross-origin");
        assert!(pixel.bytes().await.unwrap().starts_with(b"GIF89a"));
    }
    assert_eq!(replicas[0].counts(Utc::now()).await, counts(1, 0, 2));
    load(&replicas[0], "event=click", &[("user-agent", "another")]).await;
    load(&replicas[0], "user=anna", &[("user-agent", "one")]).await;
    assert_eq!(replicas[0].counts(Utc::now()).await, counts(3, 1, 3));

    let names = database.client().await.query("select distinct user_name from analytics.events", &[]).await.unwrap();
    for name in names.iter().map(|row| row.get::<_, String>(0)).filter(|name| name != "anna") {
        assert!(name.starts_with("anonymous-") && !name.contains("127.0.0.1"), "{name}");
    }
}

#[tokio::test]
async fn a_client_that_asks_not_to_be_tracked_gets_the_pixel_and_is_not_counted() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for header in ["DNT", "Sec-GPC"] {
        assert_eq!(load(&daemon, "", &[(header, "1")]).await.status(), StatusCode::OK);
    }
    assert_eq!(stored_events(&database).await, 0);
    assert_eq!(load(&daemon, "", &[("DNT", "0")]).await.status(), StatusCode::OK);
    assert_eq!(stored_events(&database).await, 1);
}

#[tokio::test]
async fn what_is_loaded_in_case_somebody_visits_the_page_gets_the_pixel_and_is_not_counted() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (header, value) in [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Sec-Purpose", "Prefetch ; anonymous-client-ip"),
        ("Purpose", "prefetch"),
        ("X-Purpose", "preview"),
        ("X-Moz", "prefetch"),
    ] {
        let pixel = load(&daemon, "", &[(header, value)]).await;
        assert_eq!(pixel.status(), StatusCode::OK, "{header}: {value}");
        assert_eq!(pixel.headers()["cache-control"], "no-store");
        assert!(pixel.bytes().await.unwrap().starts_with(b"GIF89a"));
    }
    assert_eq!(stored_events(&database).await, 0);
    for (header, value) in
        [("Sec-Purpose", ""), ("Sec-Purpose", "prefetched"), ("X-Moz", "other"), ("Purpose", "x;prefetch")]
    {
        load(&daemon, "", &[(header, value)]).await;
    }
    assert_eq!(stored_events(&database).await, 4);
}

#[tokio::test]
async fn an_event_that_comes_by_post_and_by_pixel_under_one_id_counts_once() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let key = public_key(&database, &["https://shop.example"]).await;
    let daemon = closed(&database, &[]).await;
    let origin = [("origin", "https://shop.example")];
    let event = format!("timestamp=1431857103000&user=anna&event=click&key={key}");
    for (method, path, query, expected) in [
        (Method::POST, "/analytics", format!("{event}&id=a"), StatusCode::NO_CONTENT),
        (Method::GET, "/analytics.gif", format!("{event}&id=a"), StatusCode::OK),
        (Method::GET, "/analytics.gif", format!("{event}&id=b"), StatusCode::OK),
        (Method::GET, "/analytics.gif", format!("{event}&id=b"), StatusCode::OK),
        (Method::POST, "/analytics", format!("{event}&id=b"), StatusCode::NO_CONTENT),
        (Method::GET, "/analytics.gif", format!("{}&id=b", event.replace("anna", "ben")), StatusCode::CONFLICT),
        (Method::GET, "/analytics.gif", event.clone(), StatusCode::OK),
        (Method::GET, "/analytics.gif", event.clone(), StatusCode::OK),
    ] {
        let answer = send(&daemon, method, &format!("{path}?{query}"), &origin).await;
        assert_eq!(answer.status(), expected, "{path} {query}");
    }
    let header = [origin[0], ("idempotency-key", "a")];
    let repeated = send(&daemon, Method::GET, &format!("/analytics.gif?{event}"), &header).await;
    assert_eq!(repeated.status(), StatusCode::OK);
    assert_eq!(stored_events(&database).await, 4);
}

#[tokio::test]
async fn an_error_names_the_parameter_and_stores_nothing() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (query, parameter) in [
        ("event=view", "event"),
        ("user=", "user"),
        ("user=a&user=b", "user"),
        ("timestamp=x", "timestamp"),
        ("id=", "id"),
        // A repetition would be another event.
        ("id=a", "timestamp"),
    ] {
        let refused = load(&daemon, query, &[]).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(refused.json::<Problem>().await.unwrap().parameter.as_deref(), Some(parameter));
    }
    assert_eq!(stored_events(&database).await, 0);
}
