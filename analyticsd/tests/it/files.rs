use db::Flavour;
use harness::{Daemon, TestDatabase};
use reqwest::{
    Client, StatusCode,
    header::{ACCEPT, IF_NONE_MATCH},
};

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

/// What browsers accept where they open an address.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

#[tokio::test]
async fn a_browser_gets_an_error_as_a_page_and_a_program_as_a_document() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (path, status, says) in [
        ("/nothing'here", StatusCode::NOT_FOUND, "There is nothing at /nothing&#39;here."),
        ("/analytics/hours?from=soon", StatusCode::BAD_REQUEST, "from is neither a time as RFC 3339 nor an integer"),
        ("/analytics/periods?step=%3Cb%3E", StatusCode::BAD_REQUEST, "hour, day, week or month"),
    ] {
        let ask = |accept| Client::new().get(format!("{}{path}", daemon.url())).header(ACCEPT, accept).send();
        let page = ask(BROWSER).await.unwrap();
        assert_eq!(
            (page.status(), page.headers()["content-type"].to_str().unwrap()),
            (status, "text/html; charset=utf-8")
        );
        assert!(
            page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'; style-src")
        );
        let page = page.text().await.unwrap();
        assert!(page.contains(says), "{page}");
        let document = ask("*/*").await.unwrap();
        assert_eq!(document.headers()["content-type"], "application/problem+json");
    }
}
