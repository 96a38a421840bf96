//! Access control: tokens, scopes, and when the daemon accepts requests without a token.

use std::{process::Stdio, time::Duration};

use db::{AccessTokens, Flavour, NewAccessToken, StoreOptions, embedded::Embedded, schema};
use harness::{Daemon, TestDatabase, on_both_flavours};
use model::{
    Problem,
    access::{IssuedToken, Scope},
};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::{
    spool::Away,
    support::stored_events,
    tokens::{answers, ask, closed, id, public_key, revoke, send, token},
};

on_both_flavours!(a_token_takes_effect_in_every_replica_without_a_restart);

const EVENT: &str = "timestamp=1431857103000&user=anna&event=click";

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn a_token_takes_effect_in_every_replica_without_a_restart(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let replicas = [Daemon::start(database.url()).await, Daemon::start(database.url()).await];
    for daemon in &replicas {
        assert_eq!(ask(daemon, None).await, StatusCode::OK, "it is open as long as there never was a token");
    }
    let first = bearer(&token(&database, &[Scope::Read]).await);
    for daemon in &replicas {
        answers(daemon, Some(&first), StatusCode::OK).await;
        assert_eq!(ask(daemon, None).await, StatusCode::UNAUTHORIZED, "with the first token it closes");
    }
    let second = token(&database, &[Scope::Read]).await;
    for daemon in &replicas {
        answers(daemon, Some(&bearer(&second)), StatusCode::OK).await;
    }
    revoke(&database, &second).await;
    revoke(&database, first.strip_prefix("Bearer ").unwrap()).await;
    for daemon in &replicas {
        answers(daemon, Some(&bearer(&second)), StatusCode::UNAUTHORIZED).await;
        answers(daemon, Some(&first), StatusCode::UNAUTHORIZED).await;
        assert_eq!(ask(daemon, None).await, StatusCode::UNAUTHORIZED, "revoking the last one opens nothing");
    }
    let later = Daemon::start(database.url()).await;
    assert_eq!(ask(&later, None).await, StatusCode::UNAUTHORIZED, "nor does a restart");
}

#[tokio::test]
async fn a_token_that_expires_during_an_outage_is_refused_and_the_others_stay_valid() {
    let dir = harness::server_dir();
    let options = harness::embedded_options(dir.path(), Flavour::Postgres);
    let server = Embedded::start(&options).await.unwrap();
    let store = db::Store::new(server.url(), StoreOptions::default()).unwrap();
    schema::migrate(&store, None).await.unwrap();
    let make = async |name: &str, last: u8, expires_at| {
        let issued = IssuedToken::secret([last; IssuedToken::RANDOM_BYTES]);
        let (id, digest) = (issued.id.clone(), issued.digest);
        let scopes = [Scope::Write].into_iter().collect();
        let token = NewAccessToken {
            id,
            name: name.parse().unwrap(),
            scopes,
            digest,
            origins: vec![],
            sites: None,
            is_share: false,
            expires_at,
        };
        assert!(AccessTokens(&store).create(&token).await.unwrap());
        bearer(&issued.text)
    };
    let stays = make("stays", 1, None).await;
    let daemon = Daemon::start(server.url()).await;
    // The token is made only when the daemon can read it.
    let ends = make("ends", 2, Some(chrono::Utc::now() + Duration::from_secs(8))).await;
    let post = async |authorization: &str| {
        send(&daemon, Method::POST, &format!("/analytics?{EVENT}"), &[("authorization", authorization)]).await.status()
    };
    assert_eq!(post(&stays).await, StatusCode::NO_CONTENT);
    while post(&ends).await != StatusCode::NO_CONTENT {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await.unwrap();
    while post(&ends).await != StatusCode::UNAUTHORIZED {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        post(&stays).await,
        StatusCode::SERVICE_UNAVAILABLE,
        "the token is accepted, and the database is unavailable"
    );
}

#[tokio::test]
async fn every_operation_of_the_document_that_is_about_data_needs_a_token_of_its_scope() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let [write, read, admin] = [
        token(&database, &[Scope::Write]).await,
        token(&database, &[Scope::Read]).await,
        token(&database, &[Scope::Admin]).await,
    ];
    let key = public_key(&database, &["https://shop.example"]).await;
    let daemon = closed(&database, &[]).await;
    let document: Value = daemon.get("/openapi.json").await.json().await.unwrap();
    let mut public = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = send(&daemon, method.clone(), path, &[]).await;
            let Some(security) = operation["security"].as_array() else {
                assert_ne!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
                public.push(path.as_str());
                continue;
            };
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(answer.headers()["www-authenticate"], r#"Bearer realm="analytics""#);
            let problem: Problem = answer.json().await.unwrap();
            assert!(problem.detail.contains("analytics-cli token create"), "{}", problem.detail);

            let scope = security[0]["token"][0].as_str().unwrap();
            let (allowed, other) = if scope == "write" { (&write, &read) } else { (&read, &write) };
            for token in [allowed, &admin] {
                let answer = send(&daemon, method.clone(), path, &[("authorization", &bearer(token))]).await;
                assert!(![401, 403].contains(&answer.status().as_u16()), "{method} {path}: {answer:?}");
            }
            let answer = send(&daemon, method.clone(), path, &[("authorization", &bearer(other))]).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path}");
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
            assert_eq!(challenge, format!(r#"Bearer realm="analytics", error="insufficient_scope", scope="{scope}""#));

            let with_key = format!("{path}?key={key}");
            let answer = send(&daemon, method.clone(), &with_key, &[("origin", "https://shop.example")]).await;
            let takes_keys = security.iter().any(|alternative| alternative.get("public_key").is_some());
            assert_eq!(answer.status() != StatusCode::FORBIDDEN, takes_keys, "{method} {path}: {answer:?}");
        }
    }
    assert_eq!(public, ["/healthz", "/readyz"], "nothing else is open");
    assert_eq!(stored_events(&database).await, 3, "the pixels of clients that may write");
}

#[tokio::test]
async fn a_daemon_that_is_open_to_its_machine_refuses_pages_of_other_sites() {
    const EVIL: &str = "https://evil.example";
    const EVENT: &str = "/analytics?timestamp=0&user=anna&event=click";
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let ask_page = async |method: Method, target: &str, headers: &[(&str, &str)]| {
        let answer = send(&daemon, method, target, headers).await;
        (answer.status(), answer.text().await.unwrap())
    };
    for (method, target) in [
        (Method::GET, "/analytics?timestamp=0"),
        (Method::GET, "/analytics/hours"),
        (Method::GET, "/analytics/stream"),
        (Method::POST, EVENT),
        (Method::POST, "/analytics/batch"),
        (Method::GET, "/analytics.gif"),
    ] {
        for header in [
            ("host", "evil.example"),
            ("origin", EVIL),
            ("referer", EVIL),
            ("sec-fetch-site", "cross-site"),
            ("x-forwarded-for", "127.0.0.1"),
        ] {
            let (status, text) = ask_page(method.clone(), target, &[header]).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{method} {target} {header:?}");
            assert!(text.contains("analytics-cli token create") && text.contains("--allow-anonymous"), "{text}");
        }
    }
    assert_eq!(
        ask_page(Method::GET, "/", &[("host", "evil.example")]).await.0,
        StatusCode::OK,
        "the page holds no data"
    );
    assert_eq!(stored_events(&database).await, 0);
    let local = [("origin", "http://localhost:3000"), ("sec-fetch-site", "cross-site")];
    assert_eq!(
        ask_page(Method::POST, EVENT, &local).await.0,
        StatusCode::NO_CONTENT,
        "a site under development on this machine"
    );

    let anybody = Daemon::start_with(["--database-url", database.url(), "--allow-anonymous"]).await;
    let answer = send(&anybody, Method::POST, EVENT, &[("host", "counts.example"), ("origin", EVIL)]).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "--allow-anonymous accepts everyone");
}

#[tokio::test]
async fn endpoints_without_data_are_open_and_unknown_ones_do_not_exist() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = closed(&database, &[]).await;
    for path in ["/", "/analytics.js", "/docs", "/docs/", "/openapi.json", "/healthz", "/readyz", "/assets/page.js"] {
        assert_eq!(daemon.get(path).await.status(), StatusCode::OK, "{path}");
    }
    for path in ["/nothing", "/analytics/nothing", "/metrics", "/assets/nothing"] {
        assert_eq!(daemon.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let wrong = send(&daemon, Method::DELETE, "/analytics", &[]).await;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers()["allow"], "GET, HEAD, POST");
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_never_repeated() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let right = token(&database, &[Scope::Write, Scope::Read]).await;
    let key = public_key(&database, &["https://shop.example"]).await;
    let daemon = closed(&database, &[]).await;
    let forged = format!("an_{}_{}", id(&right), "A".repeat(43));
    let unknown = format!("an_{}_{}", "0".repeat(12), "A".repeat(43));
    let target = format!("/analytics?{EVENT}");
    let with_key = |key: &str| format!("{target}&key={key}");
    let header = |value: &str| vec![("authorization".to_owned(), value.to_owned())];
    let table = [
        (target.clone(), header(&bearer(&forged)), 401),
        (target.clone(), header(&bearer(&unknown)), 401),
        (target.clone(), header(&bearer(&right.to_uppercase())), 401),
        (target.clone(), header(&bearer(&right[..right.len() - 1])), 401),
        (target.clone(), header(&format!("{} x", bearer(&right))), 401),
        (target.clone(), header(&format!("Basic {right}")), 401),
        (target.clone(), header(&right), 401),
        (target.clone(), header(""), 401),
        (target.clone(), [header(&bearer(&right)), header(&bearer(&right))].concat(), 400),
        (target.clone(), [header(&bearer(&right)), header("")].concat(), 400),
        (with_key(&right), vec![], 400),
        (with_key(&right[..20]), vec![], 400),
        (with_key(&key), header(&bearer(&right)), 400),
        (with_key("x"), vec![], 401),
        (with_key(""), vec![], 400),
        (with_key(&format!("{key}&key={key}")), vec![], 400),
        (with_key(&format!("pk_{}", id(&right))), vec![], 401),
        (with_key(&key), vec![], 403),
        (target.clone(), header(&format!("bEARER {right}")), 204),
    ];
    for (target, headers, status) in table {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = send(&daemon, Method::POST, &target, &headers).await;
        assert_eq!(answer.status().as_u16(), status, "{target} {headers:?}");
        let message = format!("{:?} ", answer.headers()) + &answer.text().await.unwrap();
        for secret in [&right, &forged, &unknown] {
            assert!(!message.contains(secret.rsplit_once('_').unwrap().1), "{message}");
        }
    }
    assert_eq!(stored_events(&database).await, 1);
}

#[tokio::test]
async fn a_public_key_only_writes_and_only_from_pages_of_its_origins() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let key = public_key(&database, &["https://shop.example", "http://localhost:3000"]).await;
    let daemon = closed(&database, &[]).await;
    let (beacon, pixel) = (format!("/analytics?{EVENT}&key={key}"), format!("/analytics.gif?user=anna&key={key}"));
    let origin = |value| ("origin", value);
    let referer = |value| ("referer", value);
    let table: &[(&[(&str, &str)], bool)] = &[
        (&[origin("https://shop.example")], true),
        (&[origin("http://localhost:3000")], true),
        (&[referer("https://shop.example/cart?x=1")], true),
        (&[origin("https://shop.example"), referer("https://other.example/")], true),
        (&[], false),
        (&[origin("null")], false),
        (&[origin("http://shop.example")], false),
        (&[origin("https://shop.example:8443")], false),
        (&[origin("https://shop.example.evil.example")], false),
        (&[origin("https://a.shop.example")], false),
        (&[origin("https://shop.example"), origin("https://shop.example")], false),
        (&[origin("https://evil.example"), referer("https://shop.example/")], false),
        (&[referer("https://shop.example@evil.example/")], false),
        (&[referer("https://evil.example/?https://shop.example/")], false),
    ];
    let mut stored = 0;
    for (headers, may) in table {
        for (method, target) in [(Method::POST, &beacon), (Method::GET, &pixel)] {
            let answer = send(&daemon, method.clone(), target, headers).await;
            assert_eq!(answer.status().is_success(), *may, "{method} {headers:?}: {answer:?}");
            if !may {
                assert_eq!(answer.status(), StatusCode::FORBIDDEN);
                assert!(answer.text().await.unwrap().contains("--origin"), "it says what to do");
            }
            stored += i64::from(*may);
        }
    }
    assert_eq!(stored_events(&database).await, stored);
    let headers = [("authorization", bearer(&key)), ("origin", "https://shop.example".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(
        send(&daemon, Method::POST, &format!("/analytics?{EVENT}"), &headers).await.status(),
        StatusCode::NO_CONTENT
    );
    for target in ["/analytics?timestamp=0", "/analytics/hours", "/analytics/stream"] {
        assert_eq!(send(&daemon, Method::GET, target, &headers).await.status(), StatusCode::FORBIDDEN, "{target}");
    }
}

#[tokio::test]
async fn an_open_daemon_still_refuses_a_token_that_is_not_valid() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let never_a_token = Daemon::start(database.url()).await;
    assert_eq!(ask(&never_a_token, Some("Bearer x")).await, StatusCode::UNAUTHORIZED);
    let right = token(&database, &[Scope::Write]).await;
    let open = closed(&database, &["--allow-anonymous"]).await;
    assert_eq!(ask(&open, None).await, StatusCode::OK);
    assert_eq!(ask(&open, Some("Bearer x")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&open, Some(&bearer(&right))).await, StatusCode::FORBIDDEN, "it has no scope to read");
}

/// Starts a daemon that must fail, and returns its exit code and its standard error.
async fn refused_start(database: &TestDatabase, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Daemon::command();
    command.args(["--database-url", database.url()]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_mins(1), output).await.expect("it ends").unwrap();
    assert!(output.stdout.is_empty(), "it never listened");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn beyond_loopback_it_starts_only_with_a_token_or_with_allow_anonymous() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    for listen in [
        &["--listen", "0.0.0.0:0"][..],
        &["--listen", "[::]:0"],
        &["--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"],
    ] {
        let (code, message) = refused_start(&database, listen).await;
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains("analytics-cli token create") && message.contains("--allow-anonymous"), "{message}");
    }
    let admin_everywhere = ["--admin-listen", "0.0.0.0:0"];
    let daemon = closed(&database, &admin_everywhere).await;
    assert_eq!(ask(&daemon, None).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn metrics_need_a_token_of_an_admin_once_there_is_a_token() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0"]).await;
    let url = format!("{}/metrics", daemon.metrics_url());
    let http = reqwest::Client::new();
    let status = async |authorization: Option<String>| {
        let request = http.get(&url);
        let request = match authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        };
        request.send().await.unwrap().status()
    };
    assert_eq!(status(None).await, StatusCode::OK, "it is open on loopback as long as there never was a token");
    let write = token(&database, &[Scope::Write, Scope::Read]).await;
    let admin = token(&database, &[Scope::Admin]).await;
    answers(&daemon, Some(&bearer(&admin)), StatusCode::OK).await;
    let refused = http.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let message = refused.json::<Problem>().await.unwrap().detail;
    assert!(message.contains("--scope admin") && !message.contains("public key"), "{message}");
    assert_eq!(status(Some(bearer(&write))).await, StatusCode::FORBIDDEN);
    assert_eq!(status(Some(bearer(&admin))).await, StatusCode::OK);

    let nothing = http.get(format!("{}/analytics", daemon.metrics_url())).send().await.unwrap();
    assert_eq!(nothing.status(), StatusCode::NOT_FOUND);
    let message = nothing.json::<Problem>().await.unwrap().detail;
    assert!(message.contains("at /metrics") && !message.contains("are at /analytics"), "{message}");
}

#[tokio::test]
async fn a_start_during_an_outage_accepts_the_tokens_of_the_last_run() {
    let mut database = Away::not_yet().await;
    let issued = IssuedToken::secret([3; IssuedToken::RANDOM_BYTES]);
    let store = db::Store::new(database.url(), StoreOptions::default()).unwrap();
    let scopes = [Scope::Write].into_iter().collect();
    let token = NewAccessToken::new(&issued, "shop".parse().unwrap(), scopes);
    assert!(AccessTokens(&store).create(&token).await.unwrap());
    database.daemon_that_may_close(&[]).await.kill().await;
    database.go().await;
    let daemon = database.daemon_that_may_close(&[]).await;
    let target = format!("/analytics?{EVENT}");
    let kept = send(&daemon, Method::POST, &target, &[("authorization", &bearer(&issued.text))]).await;
    assert_eq!(kept.status(), StatusCode::ACCEPTED);
    assert_eq!(send(&daemon, Method::POST, &target, &[]).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn as_long_as_the_tokens_are_not_known_no_request_is_accepted() {
    let dir = harness::server_dir();
    let spool = dir.path().join("spool");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = format!("postgres://x@127.0.0.1:{port}/x");
    let arguments = ["--database-url", &nowhere, "--spool", spool.to_str().unwrap()];
    let daemon = Daemon::start_with(arguments).await;
    let refused = send(&daemon, Method::POST, &format!("/analytics?{EVENT}"), &[]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(refused.text().await.unwrap().contains("does not know its tokens"));
    assert_eq!(daemon.get("/").await.status(), StatusCode::OK);
    daemon.kill().await;
    let open = Daemon::start_with(arguments.iter().chain(&["--allow-anonymous"])).await;
    let kept = send(&open, Method::POST, &format!("/analytics?{EVENT}"), &[]).await;
    assert_eq!(kept.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_stream_sends_nothing_more_once_its_token_is_revoked() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (reader, writer) = (token(&database, &[Scope::Read]).await, token(&database, &[Scope::Write]).await);
    let daemon = Daemon::start(database.url()).await;
    let authorization = bearer(&reader);
    let mut stream =
        send(&daemon, Method::GET, "/analytics/stream", &[("authorization", authorization.as_str())]).await;
    assert_eq!(stream.status(), StatusCode::OK);
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(!first.is_empty());

    revoke(&database, &reader).await;
    answers(&daemon, Some(&authorization), StatusCode::UNAUTHORIZED).await;
    // The next change would be sent, so the stream ends with it.
    let now = chrono::Utc::now().timestamp_millis();
    let event = format!("/analytics?timestamp={now}&user=after&event=click");
    let stored = send(&daemon, Method::POST, &event, &[("authorization", bearer(&writer).as_str())]).await;
    assert_eq!(stored.status(), StatusCode::NO_CONTENT);
    let mut rest = Vec::new();
    while let Some(chunk) = tokio::time::timeout(Duration::from_mins(1), stream.chunk()).await.unwrap().unwrap() {
        rest.extend_from_slice(&chunk);
    }
    let rest = String::from_utf8(rest).unwrap();
    assert!(!rest.contains("\"clicks\":1"), "{rest}");
}

#[tokio::test]
async fn a_quiet_stream_ends_too_once_its_token_is_revoked() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let reader = token(&database, &[Scope::Read]).await;
    let daemon = Daemon::start(database.url()).await;
    let authorization = bearer(&reader);
    let mut stream =
        send(&daemon, Method::GET, "/analytics/stream", &[("authorization", authorization.as_str())]).await;
    assert_eq!(stream.status(), StatusCode::OK);
    revoke(&database, &reader).await;
    let ends = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_mins(1), ends).await.expect("the stream ends");
}

#[tokio::test]
async fn a_public_key_is_for_single_events_and_no_visitor_uses_up_the_allowance_of_others() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let key = public_key(&database, &["https://shop.example"]).await;
    let arguments =
        ["--database-url", database.url(), "--rate-limit-per-token", "1/min:2", "--trusted-proxies", "127.0.0.1/32"];
    let daemon = Daemon::start_with(arguments).await;
    let origin = ("origin", "https://shop.example");
    let (single, batch) = (format!("/analytics?{EVENT}&key={key}"), format!("/analytics/batch?key={key}"));
    let refused = send(&daemon, Method::POST, &batch, &[origin]).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(refused.json::<Problem>().await.unwrap().title, "Not with a public key");
    let other = send(&daemon, Method::POST, &batch.replace("batch", "batch/"), &[origin]).await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    let from =
        async |address| send(&daemon, Method::POST, &single, &[origin, ("x-forwarded-for", address)]).await.status();
    let mut greedy = Vec::new();
    for _ in 0..4 {
        greedy.push(from("192.0.2.1").await);
    }
    assert_eq!(greedy[3], StatusCode::TOO_MANY_REQUESTS, "{greedy:?}");
    assert_eq!(from("192.0.2.2").await, StatusCode::NO_CONTENT, "other visitors are counted");
}

#[tokio::test]
async fn no_cache_stores_an_error_and_no_browser_sniffs_an_answer() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (read, write) = (token(&database, &[Scope::Read]).await, token(&database, &[Scope::Write]).await);
    let daemon = closed(&database, &[]).await;
    let (read, write) = (bearer(&read), bearer(&write));
    for (method, target, token, status) in [
        (Method::GET, "/analytics?timestamp=0", "Bearer x", 401),
        (Method::GET, "/analytics?timestamp=0", &write, 403),
        (Method::GET, "/analytics?timestamp=x", &read, 400),
        (Method::GET, "/nothing", &read, 404),
        (Method::PUT, "/analytics", &read, 405),
    ] {
        let answer = send(&daemon, method, target, &[("authorization", token)]).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["cache-control"], "no-store", "{status}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{status}");
    }
    for target in ["/openapi.json", "/analytics/hours", "/analytics/hours?format=csv"] {
        let answer = send(&daemon, Method::GET, target, &[("authorization", &read)]).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{target}");
    }
}
