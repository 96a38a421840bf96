use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use db::Flavour;
use model::access::Scope;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use testkit::{Daemon, TestDatabase};
use tokio::{process::Command, time::timeout};

use crate::tokens::{closed, token};

/// Where `make test` installs schemathesis.
fn schemathesis() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join(".tools/schemathesis/bin/st")
}

/// Every answer to requests that are drawn from the document, right and wrong ones, is one that the document names.
#[tokio::test]
async fn the_document_and_the_server_agree() {
    let program = schemathesis();
    assert!(
        program.is_file(),
        "{} is not there: run `scripts/prerequisites tests`, which needs Python 3",
        program.display()
    );
    let database = TestDatabase::new(Flavour::Postgres).await;
    let token = token(&database, &[Scope::Write, Scope::Read]).await;
    let daemon = closed(&database, &["--trusted-proxies", "127.0.0.1"]).await;
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .current_dir(dir.path())
        .env("SCHEMATHESIS_HOOKS", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/hooks.py"))
        .env("NO_PROXY", "127.0.0.1")
        .arg("run")
        .arg(format!("{}/openapi.json", daemon.url()))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--seed", "1"])
        // A range may be written backwards, which no schema can forbid; and the one header that is required is added to those requests, too, that it
        // means to send without. Whether a token is needed is looked at by `ignored_auth`, which leaves it out.
        .args(["--exclude-checks", "positive_data_acceptance,missing_required_header", "--continue-on-failure"])
        // It goes on for ever, which is another test's affair.
        .args(["--exclude-path", "/analytics/stream", "--request-timeout", "20"])
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_mins(4), output).await.expect("it ends in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("Unresolvable"), "{said}");
}

/// A request for each answer that the document promises, and for each of its operations.
#[tokio::test]
async fn every_answer_that_the_document_names_can_be_had() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let document: Value = daemon.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");

    let seen = answers(&daemon, &database).await;
    let mut promised = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for status in operation["responses"].as_object().unwrap().keys() {
                promised.insert(format!("{} {path} {status}", method.to_uppercase()));
            }
        }
    }
    // These take an outage, half a minute, tokens or limits; the tests of spools, of overload, of slow clients, of access and of limits have them.
    let elsewhere =
        |answer: &String| ["202", "401", "403", "408", "429", "503"].iter().any(|status| answer.ends_with(status));
    let missing: Vec<_> = promised.difference(&seen).filter(|answer| !elsewhere(answer)).collect();
    assert!(missing.is_empty(), "nothing was answered so: {missing:?}");
    let unnamed: Vec<_> = seen.difference(&promised).collect();
    assert!(unnamed.is_empty(), "the document does not name {unnamed:?}");
}

/// What one request of each kind was answered.
async fn answers(daemon: &Daemon, database: &TestDatabase) -> BTreeSet<String> {
    let long = format!("x={}", "x".repeat(9_000));
    let event = "timestamp=1431857103000&user=anna&event=click";
    let batch = "{\"timestamp\":1431857103000,\"user\":\"anna\",\"event\":\"click\"}\n";
    let large = "x".repeat(65 << 10);
    let in_hour = |hour: i64| format!("{{\"timestamp\":{},\"user\":\"anna\",\"event\":\"click\"}}\n", hour * 3_600_000);
    let many_hours: String = (0..300).map(in_hour).collect();
    let table: Vec<(Method, &str, String, &str)> = vec![
        (Method::POST, "/analytics", event.to_owned(), ""),
        (Method::POST, "/analytics", format!("{event}&id=k"), ""),
        (Method::POST, "/analytics", "timestamp=1431857103000&user=ben&event=click&id=k".to_owned(), ""),
        (Method::POST, "/analytics", "timestamp=x".to_owned(), ""),
        (Method::POST, "/analytics", long.clone(), ""),
        (Method::POST, "/analytics", event.to_owned(), &large),
        (Method::GET, "/analytics", "timestamp=0".to_owned(), ""),
        (Method::GET, "/analytics", String::new(), ""),
        (Method::GET, "/analytics", long.clone(), ""),
        (Method::POST, "/analytics/batch", String::new(), batch),
        (Method::POST, "/analytics/batch", "id=b".to_owned(), batch),
        (Method::POST, "/analytics/batch", "id=k".to_owned(), batch.trim_end()),
        (
            Method::POST,
            "/analytics/batch",
            "id=b".to_owned(),
            "{\"timestamp\":1431857103000,\"user\":\"ben\",\"event\":\"click\"}",
        ),
        (Method::POST, "/analytics/batch", String::new(), "nonsense"),
        (Method::POST, "/analytics/batch", String::new(), &many_hours),
        (Method::POST, "/analytics/batch", long.clone(), ""),
        (Method::GET, "/analytics/hours", String::new(), ""),
        (Method::GET, "/analytics/hours", "from=x".to_owned(), ""),
        (Method::GET, "/analytics/hours", long.clone(), ""),
        (Method::GET, "/analytics/stream", String::new(), ""),
        (Method::GET, "/analytics.gif", String::new(), ""),
        (Method::GET, "/analytics.gif", "event=x".to_owned(), ""),
        (Method::GET, "/analytics.gif", long.clone(), ""),
        (Method::GET, "/healthz", String::new(), ""),
        (Method::GET, "/readyz", String::new(), ""),
    ];
    let http = reqwest::Client::new();
    let mut seen = BTreeSet::new();
    for (method, path, query, body) in table {
        let url = format!("{}{path}?{query}", daemon.url());
        let answer = http.request(method.clone(), url).body(body.to_owned()).send().await.unwrap();
        seen.insert(format!("{method} {path} {}", answer.status().as_u16()));
    }

    let encoded = http.post(format!("{}/analytics/batch", daemon.url())).header("content-encoding", "gzip").body(batch);
    assert_eq!(encoded.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    seen.insert("POST /analytics/batch 415".to_owned());

    let client = database.client().await;
    client.batch_execute("call analytics.refresh_hour('2015-05-17T10:00:00Z')").await.unwrap();
    client.batch_execute("select analytics.settle('2015-05-17T10:00:00Z')").await.unwrap();
    let settled = format!("{}/analytics/hours?from=2015-05-17T10:00:00Z&to=2015-05-17T10:00:00Z", daemon.url());
    let tag = http.get(&settled).send().await.unwrap().headers()["etag"].clone();
    let known = http.get(&settled).headers(HeaderMap::from_iter([(reqwest::header::IF_NONE_MATCH, tag)])).send().await;
    assert_eq!(known.unwrap().status(), StatusCode::NOT_MODIFIED);
    seen.insert("GET /analytics/hours 304".to_owned());
    seen
}

#[tokio::test]
async fn the_documentation_is_served_without_anything_from_elsewhere() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let page = daemon.get("/docs").await;
    assert_eq!(page.url().path(), "/docs/");
    let page = page.text().await.unwrap();
    assert!(page.contains("swagger-ui-bundle.js") && !page.contains("https://"), "{page}");
    for file in ["swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "swagger-ui.css", "swagger-initializer.js"]
    {
        assert_eq!(daemon.get(&format!("/docs/{file}")).await.status(), StatusCode::OK, "{file}");
    }
    assert_eq!(daemon.get("/docs/../Cargo.toml").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(daemon.get("/docs/nothing").await.status(), StatusCode::NOT_FOUND);
}
