//! CORS: the answers that browsers show to pages of other origins.

use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::access::Scope;
use reqwest::{Method, Response, StatusCode};

use crate::tokens::{closed, public_key, send, token};

const ADMIN: &str = "https://admin.example";
const SHOP: &str = "https://shop.example";

fn allowed(answer: &Response) -> Option<&str> {
    let values: Vec<_> = answer.headers().get_all("access-control-allow-origin").iter().collect();
    assert!(values.len() < 2, "{values:?}");
    values.first().map(|value| value.to_str().unwrap())
}

async fn preflight(daemon: &Daemon, path: &str, origin: &str, method: &str) -> Response {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization"),
    ];
    send(daemon, Method::OPTIONS, path, &headers).await
}

#[tokio::test]
async fn a_preflight_is_answered_with_what_pages_of_the_origin_may_do() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (key, of_another) =
        (public_key(&database, &[SHOP]).await, public_key(&database, &["https://blog.example"]).await);
    let with_key = |path: &str, key: &str| format!("{path}?key={key}");
    let daemon = closed(&database, &["--cors-origins", "https://admin.example,http://localhost:3000"]).await;
    for (path, origin, method, may) in [
        ("/analytics", ADMIN, "GET", true),
        ("/analytics/hours", ADMIN, "GET", true),
        ("/analytics/batch", ADMIN, "POST", true),
        ("/openapi.json", "http://localhost:3000", "GET", true),
        (&with_key("/analytics", &key), SHOP, "POST", true),
        (&with_key("/analytics.gif", &key), SHOP, "GET", true),
        (&with_key("/analytics", &key), SHOP, "GET", false),
        (&with_key("/analytics", &of_another), SHOP, "POST", false),
        (&with_key("/analytics", "pk_nobodys"), SHOP, "POST", false),
        ("/analytics", SHOP, "POST", false),
        ("/analytics/hours", SHOP, "GET", false),
        ("/analytics", "https://evil.example", "POST", false),
        ("/analytics", "null", "GET", false),
        ("/analytics", "https://admin.example.evil.example", "GET", false),
        ("/analytics", "http://admin.example", "GET", false),
    ] {
        let answer = preflight(&daemon, path, origin, method).await;
        assert_eq!(allowed(&answer), may.then_some(origin), "{method} {path} {origin}");
        assert_eq!(answer.status().as_u16(), if may { 204 } else { 403 }, "{method} {path} {origin}");
        assert_eq!(answer.headers()["vary"], "Origin");
        if may {
            let may_send = answer.headers()["access-control-allow-headers"].to_str().unwrap();
            for header in ["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"] {
                assert!(may_send.contains(header), "{may_send}");
            }
            assert_eq!(answer.headers()["access-control-max-age"], "600");
        }
    }
    assert_eq!(preflight(&daemon, "/nothing", ADMIN, "GET").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(preflight(&daemon, "/analytics", ADMIN, "DELETE").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    let no_preflight = send(&daemon, Method::OPTIONS, "/analytics", &[("origin", ADMIN)]).await;
    assert_eq!(no_preflight.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn pages_that_may_read_answers_can_read_every_error() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let token = format!("Bearer {}", token(&database, &[Scope::Write]).await);
    let daemon = closed(&database, &["--cors-origins", ADMIN, "--rate-limit-per-token", "1/h:6"]).await;
    let mut seen = Vec::new();
    let large = vec![b'x'; 70_000];
    for (method, target, authorization, body) in [
        (Method::GET, "/analytics?timestamp=0", "", &b""[..]),
        (Method::GET, "/analytics?timestamp=0", token.as_str(), b""),
        (Method::POST, "/analytics?timestamp=x", &token, b""),
        (Method::POST, "/analytics", &token, &large),
        (Method::GET, "/nothing", &token, b""),
        (Method::DELETE, "/analytics", &token, b""),
        (Method::POST, "/analytics?timestamp=0&user=a&event=click", &token, b""),
        (Method::POST, "/analytics", &token, b""),
        (Method::POST, "/analytics", &token, b""),
        (Method::POST, "/analytics", &token, b""),
    ] {
        let request =
            reqwest::Client::new().request(method, format!("{}{target}", daemon.url())).header("origin", ADMIN);
        let request = if authorization.is_empty() { request } else { request.header("authorization", authorization) };
        let answer = request.body(body.to_vec()).send().await.unwrap();
        assert_eq!(allowed(&answer), Some(ADMIN), "{answer:?}");
        assert_eq!(answer.headers()["vary"], "Origin");
        let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap();
        assert!(
            ["Retry-After", "RateLimit-Remaining", "X-Request-Id", "ETag"].iter().all(|name| exposed.contains(name))
        );
        seen.push(answer.status().as_u16());
    }
    assert_eq!(seen, [401, 403, 400, 413, 404, 405, 204, 400, 400, 429]);
}

#[tokio::test]
async fn pages_of_a_public_key_can_read_answers_to_their_events_and_no_counts() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let key = public_key(&database, &[SHOP]).await;
    let daemon = closed(&database, &[]).await;
    let target = format!("/analytics?timestamp=0&user=anna&event=click&key={key}");
    let stored = send(&daemon, Method::POST, &target, &[("origin", SHOP)]).await;
    assert_eq!((stored.status(), allowed(&stored)), (StatusCode::NO_CONTENT, Some(SHOP)));
    let refused = send(&daemon, Method::POST, &target, &[("origin", "https://evil.example")]).await;
    assert_eq!((refused.status(), allowed(&refused)), (StatusCode::FORBIDDEN, None));
    assert_eq!(refused.headers()["vary"], "Origin");
    let refused = send(&daemon, Method::GET, "/analytics?timestamp=0", &[("origin", SHOP)]).await;
    assert_eq!((refused.status(), allowed(&refused)), (StatusCode::UNAUTHORIZED, None));
    let script = send(&daemon, Method::GET, "/analytics.js", &[("origin", "https://any.example")]).await;
    assert_eq!(allowed(&script), Some("*"), "the script is for all pages");
}

#[tokio::test]
async fn without_configured_origins_no_page_of_another_origin_can_read_answers() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for target in ["/analytics?timestamp=0", "/nothing", "/"] {
        let answer = send(&daemon, Method::GET, target, &[("origin", ADMIN)]).await;
        assert_eq!((allowed(&answer), answer.headers().get("vary")), (None, None), "{target}");
    }
    assert_eq!(preflight(&daemon, "/analytics", ADMIN, "GET").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn where_events_need_no_credentials_any_page_can_read_what_became_of_its_own_and_no_counts() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let key = public_key(&database, &["https://blog.example"]).await;
    let daemon = closed(&database, &["--allow-anonymous", "--rate-limit-per-address", "1/h:7"]).await;
    assert_eq!(preflight(&daemon, "/analytics", SHOP, "POST").await.status(), StatusCode::FORBIDDEN);
    let event = "/analytics?timestamp=1431857103000&user=anna&event=click";
    for (method, target, expected, may) in [
        (Method::GET, "/analytics?timestamp=0", 200, false),
        // Whoever shows a key is no stranger: the key's origins decide.
        (Method::POST, &format!("{event}&key={key}"), 403, false),
        (Method::POST, event, 204, true),
        (Method::POST, "/analytics?timestamp=x", 400, true),
        (Method::GET, "/analytics.gif", 200, true),
        (Method::POST, "/analytics/batch", 204, false),
        (Method::POST, event, 429, true),
        (Method::GET, "/analytics?timestamp=0", 429, false),
    ] {
        let answer = send(&daemon, method, target, &[("origin", SHOP)]).await;
        assert_eq!((answer.status().as_u16(), allowed(&answer)), (expected, may.then_some(SHOP)), "{target}");
        if may {
            let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap();
            assert!(exposed.contains("Retry-After"));
            assert_eq!(answer.headers()["vary"], "Origin");
        }
    }
}

#[tokio::test]
async fn before_the_first_token_only_pages_of_this_machine_can_read_what_became_of_their_events() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let event = "/analytics?timestamp=1431857103000&user=anna&event=click";
    let local = "http://localhost:3000";
    for (origin, expected, may) in [(local, 204, true), (SHOP, 403, false), ("null", 403, false)] {
        let answer = send(&daemon, Method::POST, event, &[("origin", origin)]).await;
        assert_eq!((answer.status().as_u16(), allowed(&answer)), (expected, may.then_some(origin)), "{origin}");
    }
    let counts = send(&daemon, Method::GET, "/analytics?timestamp=0", &[("origin", local)]).await;
    assert_eq!((counts.status(), allowed(&counts)), (StatusCode::OK, None));
    // From the first token on, an event needs credentials.
    token(&database, &[Scope::Admin]).await;
    crate::tokens::answers(&daemon, None, StatusCode::UNAUTHORIZED).await;
    let refused = send(&daemon, Method::POST, event, &[("origin", local)]).await;
    assert_eq!((refused.status(), allowed(&refused)), (StatusCode::UNAUTHORIZED, None));
}
