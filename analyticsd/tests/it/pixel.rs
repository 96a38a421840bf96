use chrono::Utc;
use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::Problem;
use reqwest::StatusCode;

use crate::support::{counts, stored_events};

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
async fn an_error_names_the_parameter_and_stores_nothing() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (query, parameter) in [("event=view", "event"), ("user=", "user"), ("user=a&user=b", "user")] {
        let refused = load(&daemon, query, &[]).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(refused.json::<Problem>().await.unwrap().parameter.as_deref(), Some(parameter));
    }
    assert_eq!(stored_events(&database).await, 0);
}
