//! Attacks without a token: raw bytes on a socket that no ordinary client would send.

use std::time::Duration;

use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::access::Scope;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    raw::{connect, read_to_the_end},
    support::stored_events,
    tokens::{closed, token},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The whole answer to bytes after which the client closes its sending side.
async fn exchange(daemon: &Daemon, bytes: &[u8]) -> String {
    let mut stream = connect(daemon).await;
    // The daemon may close the connection before the end.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    read_to_the_end(&mut stream, PATIENCE).await
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.").filter_map(|(at, _)| answers.get(at + 9..at + 12)).collect()
}

#[tokio::test]
async fn no_way_to_write_a_path_leads_to_data_without_a_token() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = closed(&database, &["--admin-listen", "127.0.0.1:0"]).await;
    let event = "timestamp=0&user=anna&event=click";
    let paths = [
        "/analytics",
        "/analytics/",
        "//analytics",
        "/analytics//",
        "/./analytics",
        "/x/../analytics",
        "/%61nalytics",
        "/%2fanalytics",
        "/analytics%2f",
        "/analytics;x",
        "/ANALYTICS",
        "/analytics/../metrics",
        "/analytics/%2e%2e/metrics",
        "/metrics",
        "/docs/../analytics",
        "/docs/..%2fanalytics",
        "/docs/%2e%2e/analytics",
        "/assets/../analytics",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/healthz/../analytics",
        "/analytics.gif",
        "/analytics.gif/",
        "/analytics/batch/",
        "/analytics/hours/",
        "/analytics\\",
        "\\analytics",
        "http://localhost/analytics",
        "http://localhost//analytics",
        "https://user@localhost/analytics",
        "http:/analytics",
        "analytics",
        "*",
        "?timestamp=0",
    ];
    for path in paths {
        for method in ["GET", "POST", "HEAD", "OPTIONS", "get", "PRI", "CONNECT", "TRACE", "X"] {
            for version in ["HTTP/1.1", "HTTP/1.0"] {
                let request = format!(
                    "{method} {path}?{event} {version}\r\nHost: x\r\nX-Original-URL: /analytics\r\nX-Rewrite-URL: \
                     /analytics\r\nX-HTTP-Method-Override: POST\r\nConnection: close\r\n\r\n"
                );
                let answer = exchange(&daemon, request.as_bytes()).await;
                let is_page = path.starts_with('?') || path == "*";
                let is_refused = statuses(&answer).iter().all(|status| ["400", "401", "404", "405"].contains(status));
                assert!(is_refused || is_page, "{request}{answer}");
                assert!(
                    !answer.contains("unique_users") && !answer.contains("GIF89a") && !answer.contains("analyticsd_"),
                    "{request}{answer}"
                );
            }
        }
    }
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn no_request_hides_another_in_its_body() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let token = token(&database, &[Scope::Write]).await;
    let daemon = closed(&database, &[]).await;
    let head = format!("POST /analytics/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    let hidden = "POST /analytics?timestamp=0&user=hidden&event=click HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = hidden.len();
    for framing in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!("Content-Length: 0, {length}\r\n\r\n{hidden}"),
        format!("Content-Length: +0\r\n\r\n{hidden}"),
        format!("Content-Length: 0x0\r\n\r\n{hidden}"),
        format!("Content-Length : {length}\r\n\r\n{hidden}"),
        format!("X: y\r\n Content-Length: {length}\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{hidden}"),
        format!("Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n{hidden}"),
    ] {
        let answers = exchange(&daemon, format!("{head}{framing}").as_bytes()).await;
        assert!(statuses(&answers).len() < 2, "{framing:?}\n{answers}");
    }
    // A line may end without a carriage return (RFC 9112, section 2.2), so every server reads two requests here, and
    // both need a token.
    let two = format!("{head}X: y\nTransfer-Encoding: chunked\n\n0\r\n\r\n{hidden}");
    assert_eq!(statuses(&exchange(&daemon, two.as_bytes()).await), ["204", "401"]);
    assert_eq!(stored_events(&database).await, 0, "no request had a token");
}

#[tokio::test]
async fn no_text_of_a_request_gets_into_the_head_of_an_answer() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = closed(&database, &["--cors-origins", "https://admin.example"]).await;
    let long = "x".repeat(8_000);
    for head in [
        "Origin: https://admin.example\r\n\tX-Injected: y".to_owned(),
        "Origin: https://admin.example\rX-Injected: y".to_owned(),
        "Origin: https://admin.example%0d%0aX-Injected: y".to_owned(),
        "Authorization: Bearer x\r\n X-Injected: y".to_owned(),
        "Authorization: Bearer an_\0\u{1}\u{7f}".to_owned(),
        format!("Authorization: Bearer {long}"),
        format!("Authorization: {long}"),
        format!("Origin: {long}"),
        format!("X-Forwarded-For: {}", "1.2.3.4, ".repeat(900)),
    ] {
        let request = format!(
            "GET /analytics?timestamp=0&x=%0d%0aX-Injected:%20y HTTP/1.1\r\nHost: x\r\nConnection: \
             close\r\n{head}\r\n\r\n"
        );
        let answer = exchange(&daemon, request.as_bytes()).await;
        let statuses = statuses(&answer);
        assert!(matches!(statuses[..], ["400" | "401" | "431"]), "{head:?}: {answer}");
        let head_of_answer = answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        assert!(!head_of_answer.contains("x-injected"), "{answer}");
        assert!(!answer.contains(&long), "{answer}");
    }
    let huge = format!("GET /analytics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(statuses(&exchange(&daemon, huge.as_bytes()).await), ["431"]);
}

#[tokio::test]
async fn every_path_has_one_spelling() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0"]).await;
    let document: Value = daemon.get("/openapi.json").await.json().await.unwrap();
    let documented = document["paths"].as_object().unwrap().keys().map(String::as_str);
    let paths = documented.chain(["/openapi.json", "/analytics.js", "/assets/page.js", "/docs/swagger-ui.css"]);
    let public = daemon.url().strip_prefix("http://").unwrap();
    let admin = daemon.metrics_url().strip_prefix("http://").unwrap();
    for (listener, path) in paths.map(|path| (public, path)).chain([(admin, "/metrics"), (public, "/docs/")]) {
        let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        let (first, rest) = path[1..].split_at(path.len().min(2) - 1);
        let encoded = first.bytes().fold("/".to_owned(), |encoded, byte| format!("{encoded}%{byte:02x}"));
        let mut spellings = vec![
            format!("/{path}"),
            format!("//{path}"),
            format!("{path}//"),
            format!("/.{path}"),
            format!("/x/..{path}"),
            format!("{path}%2f"),
            format!("{path};x"),
            format!("http://localhost/{path}"),
        ];
        if path != "/" {
            spellings.extend([format!("{encoded}{rest}"), path.to_uppercase()]);
            // This one is the first page of the documentation.
            spellings.extend((path != "/docs").then(|| format!("{path}/")));
            spellings.extend((path != "/docs").then(|| format!("http://localhost{path}/")));
            spellings.extend(path[1..].find('/').map(|at| format!("{}/{}", &path[..=at], &path[1 + at..])));
        }
        for spelling in spellings {
            for method in ["GET", "POST", "HEAD"] {
                let query = "timestamp=0&user=anna&event=click";
                let request =
                    format!("{method} {spelling}?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                let mut stream = TcpStream::connect(listener).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let answer = read_to_the_end(&mut stream, Duration::from_secs(10)).await;
                assert!(answer.starts_with("HTTP/1.1 404 "), "{request}{answer}");
            }
        }
    }
    assert_eq!(stored_events(&database).await, 0);
}
