//! `--public-path`: what web pages load has names of the operator's own too.

use chrono::Utc;
use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::access::Scope;
use reqwest::{Method, StatusCode};

use crate::{
    support::counts,
    tokens::{closed, public_key, send, token},
};

const SHOP: &str = "https://shop.example";

#[tokio::test]
async fn script_pixel_and_endpoint_are_served_under_both_names_and_nothing_else_is() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let arguments = ["--database-url", database.url(), "--admin-listen", "127.0.0.1:0", "--public-path", "/shop/x7"];
    let daemon = Daemon::start_with(arguments).await;
    let at = Utc::now();
    for (endpoint, user) in [("/analytics", "anna"), ("/shop/x7", "ben")] {
        let target = format!("{endpoint}?timestamp={}&user={user}&event=click", at.timestamp_millis());
        assert_eq!(send(&daemon, Method::POST, &target, &[]).await.status(), StatusCode::NO_CONTENT);
        let pixel = send(&daemon, Method::GET, &target.replace('?', ".gif?"), &[]).await;
        assert_eq!((pixel.status(), &pixel.headers()["content-type"]), (StatusCode::OK, &"image/gif".parse().unwrap()));
    }
    assert_eq!(daemon.counts(at).await, counts(2, 4, 0));
    let [usual, chosen] = [daemon.get("/analytics.js").await, daemon.get("/shop/x7.js").await];
    assert_eq!((usual.status(), chosen.status()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(usual.headers()["etag"], chosen.headers()["etag"]);
    assert_eq!(usual.text().await.unwrap(), chosen.text().await.unwrap());

    for path in ["/shop", "/shop/x7/", "/shop/x7.css", "/shop/x7/batch", "/shop/x7/hours", "/x7", "/shop/x7%2egif"] {
        assert_eq!(daemon.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let refused = send(&daemon, Method::POST, "/shop/x7.js", &[]).await;
    assert_eq!(
        (refused.status(), refused.headers()["allow"].to_str().unwrap()),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
    );

    let metrics = daemon.metrics().await;
    assert!(!metrics.contains("x7"), "metrics have the routes' usual names");
    let posted = r#"analyticsd_http_requests_total{route="/analytics",method="POST",status="204"} 2"#;
    let shown = r#"analyticsd_http_requests_total{route="/analytics.gif",method="GET",status="200"} 2"#;
    assert!(metrics.contains(posted) && metrics.contains(shown), "{metrics}");
    let admin =
        reqwest::get(format!("{}/shop/x7.js", daemon.metrics_url().trim_end_matches("/metrics"))).await.unwrap();
    assert_eq!(admin.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_name_of_ones_own_needs_the_credentials_has_the_limits_and_tells_the_pages_that_the_usual_one_does() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let key = public_key(&database, &[SHOP]).await;
    let reads = format!("Bearer {}", token(&database, &[Scope::Read]).await);
    let daemon = closed(&database, &["--public-path", "/x7", "--rate-limit-per-token", "1/h:2"]).await;
    let event = "timestamp=1431857103000&user=anna&event=click";
    let with_key = format!("/x7?{event}&key={key}");
    let mut seen = Vec::new();
    for (method, target, headers) in [
        (Method::POST, format!("/x7?{event}"), vec![("origin", SHOP)]),
        (Method::GET, "/x7?timestamp=0".to_owned(), vec![]),
        (Method::GET, "/x7.gif".to_owned(), vec![]),
        (Method::POST, with_key.clone(), vec![("origin", "https://evil.example")]),
        (Method::POST, with_key.clone(), vec![("origin", SHOP)]),
        (Method::POST, with_key.clone(), vec![("origin", SHOP)]),
        (Method::GET, "/x7?timestamp=0".to_owned(), vec![("authorization", reads.as_str())]),
        (Method::GET, "/x7.js".to_owned(), vec![("origin", "https://any.example")]),
    ] {
        let answer = send(&daemon, method, &target, &headers).await;
        let origin = answer.headers().get("access-control-allow-origin").map(|it| it.to_str().unwrap().to_owned());
        seen.push((answer.status().as_u16(), origin));
    }
    let shop = || Some(SHOP.to_owned());
    let any = Some("*".to_owned());
    let expected =
        [(401, None), (401, None), (401, None), (403, None), (204, shop()), (429, shop()), (200, None), (200, any)];
    assert_eq!(seen, expected);
}
