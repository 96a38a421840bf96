use db::Flavour;
use harness::{Daemon, TestDatabase};
use reqwest::{Client, StatusCode, header::IF_NONE_MATCH};

#[tokio::test]
async fn the_page_has_a_policy_that_allows_nothing_of_other_sites_and_is_sent_once() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let page = daemon.get("/").await;
    assert_eq!(
        (page.status(), page.headers()["content-type"].to_str().unwrap()),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'; script-src 'self'")
    );
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let tag = page.headers()["etag"].clone();
    let again = Client::new().get(daemon.url()).header(IF_NONE_MATCH, tag).send().await.unwrap();
    assert_eq!((again.status(), again.text().await.unwrap().as_str()), (StatusCode::NOT_MODIFIED, ""));

    for path in ["/assets/", "/assets/VENDORED.md", "/assets/../Cargo.toml", "/assets/page.js/", "/index.html"] {
        assert_eq!(daemon.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_script_for_other_sites_may_be_cached_for_an_hour_and_used_anywhere() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let script = daemon.get("/analytics.js").await;
    assert_eq!(script.status(), StatusCode::OK);
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(script.headers()["cache-control"], "public, max-age=3600");
    assert_eq!(script.headers()["access-control-allow-origin"], "*");
    assert_eq!(script.headers()["cross-origin-resource-policy"], "cross-origin");
    assert!(script.text().await.unwrap().len() < 10_240);
    let refused = Client::new().post(format!("{}/analytics.js", daemon.url())).send().await.unwrap();
    assert_eq!(
        (refused.status(), refused.headers()["allow"].to_str().unwrap()),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
    );
}
