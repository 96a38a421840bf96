//! Compares the daemon's answers with the OpenAPI document: each answer and header that it names can be seen, and there
//! are no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use db::Flavour;
use harness::{Daemon, TestDatabase, settle};
use model::access::Scope;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    raw::{connect, connect_and_send},
    tokens::{closed, token},
};

/// Pages of this origin may read answers, so that answers have the headers of CORS.
const ORIGIN: &str = "https://admin.example";
/// So high that no request exceeds them, but every answer has their headers.
const LIMITS: [&str; 6] =
    ["--cors-origins", ORIGIN, "--rate-limit-per-address", "1000000/s", "--rate-limit-per-token", "1000000/s"];
/// Headers of HTTP itself.
const PLAIN: [&str; 5] = ["connection", "content-length", "content-type", "date", "transfer-encoding"];
const EVENT: &str = "timestamp=1431857103000&user=anna&event=click";

/// Answers, seen or documented: a method, a path and a status, with the headers that are not plain.
#[derive(Default)]
struct Answers(BTreeMap<String, BTreeSet<String>>);

impl Answers {
    fn add(&mut self, method: &Method, path: &str, status: &str, headers: impl IntoIterator<Item = String>) {
        let headers =
            headers.into_iter().map(|name| name.to_lowercase()).filter(|name| !PLAIN.contains(&name.as_str()));
        // Each path has the same answer to other methods.
        let path = if status == "405" { "any" } else { path };
        self.0.entry(format!("{method} {path} {status}")).or_default().extend(headers);
    }

    fn add_response(&mut self, method: &Method, path: &str, response: &Response) {
        let headers = response.headers().keys().map(ToString::to_string);
        self.add(method, path, response.status().as_str(), headers);
    }

    /// The head of an answer that comes on a connection.
    async fn read(&mut self, method: &Method, path: &str, stream: &mut TcpStream) {
        let mut head = Vec::new();
        let reading = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
        };
        timeout(Duration::from_mins(1), reading).await.expect("there is an answer");
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        self.add(method, path, status, lines.map(|line| line.split_once(':').unwrap().0.to_owned()));
    }
}

/// An operation of the document.
struct Operation {
    method: Method,
    path: String,
    /// The scope that a token must have.
    scope: Option<Scope>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(|(method, operation)| Operation {
            method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
            path: path.clone(),
            scope: operation["security"][0]["token"][0].as_str().map(|scope| scope.parse().unwrap()),
        })
    });
    operations.collect()
}

/// The answers that the document names.
fn promised(document: &Value) -> Answers {
    let headers = |response: &Value| {
        let headers = response["headers"].as_object().into_iter().flatten();
        headers
            .map(|(name, header)| {
                let referred =
                    header["$ref"].as_str().map(|at| document.pointer(at.strip_prefix('#').unwrap()).unwrap());
                assert!(referred.unwrap_or(header)["description"].is_string(), "{name}");
                name.clone()
            })
            .collect::<Vec<_>>()
    };
    let mut promised = Answers::default();
    for Operation { method, path, .. } in operations(document) {
        let operation = &document["paths"][&path][method.as_str().to_lowercase()];
        for (status, response) in operation["responses"].as_object().unwrap() {
            promised.add(&method, &path, status, headers(response));
        }
    }
    let responses = &document["components"]["responses"];
    promised.add(&Method::GET, "/nothing", "404", headers(&responses["NotFound"]));
    promised.add(&Method::DELETE, "any", "405", headers(&responses["MethodNotAllowed"]));
    promised
}

#[tokio::test]
async fn the_daemon_gives_exactly_the_answers_and_headers_that_the_document_names() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let tokens = [
        token(&database, &[Scope::Write]).await,
        token(&database, &[Scope::Read]).await,
        token(&database, &[Scope::Admin]).await,
    ];
    let daemon = closed(&database, &LIMITS).await;
    let document: Value = daemon.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);

    let mut seen = Answers::default();
    handlers(&mut seen, &daemon, &database, &tokens[2]).await;
    gate(&mut seen, &daemon, &operations, &tokens).await;
    heads(&mut seen, &daemon, &operations, &tokens[2]).await;
    eager(&mut seen, &database, &operations).await;
    without_places(&mut seen, &database, &operations).await;
    without_database(&mut seen, &operations).await;

    let promised = promised(&document);
    let of = |answers: &Answers| answers.0.keys().cloned().collect::<BTreeSet<_>>();
    let (names, answers) = (of(&promised), of(&seen));
    assert_eq!(names.difference(&answers).collect::<Vec<_>>(), [""; 0], "these answers were never seen");
    assert_eq!(answers.difference(&names).collect::<Vec<_>>(), [""; 0], "the document does not name them");
    let difference = |some: &Answers, others: &Answers| -> Vec<String> {
        let of = |(answer, headers): (&String, &BTreeSet<String>)| {
            headers.difference(&others.0[answer]).map(|header| format!("{answer}: {header}")).collect::<Vec<_>>()
        };
        some.0.iter().flat_map(of).collect()
    };
    assert_eq!(difference(&seen, &promised), [""; 0], "the document does not name these headers");
    assert_eq!(difference(&promised, &seen), [""; 0], "these headers were never sent");
}

/// Sends a request of a page, with a token if there is one, and adds its answer.
async fn ask(
    seen: &mut Answers,
    (daemon, token): (&Daemon, Option<&str>),
    method: &Method,
    (path, query): (&str, &str),
    (headers, body): (&[(&str, &str)], &str),
) -> Response {
    let url = format!("{}{path}?{query}", daemon.url());
    let mut request = reqwest::Client::new().request(method.clone(), url).header("origin", ORIGIN);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_owned()).send().await.unwrap();
    seen.add_response(method, path, &answer);
    answer
}

/// The handlers' answers to right and wrong requests.
async fn handlers(seen: &mut Answers, daemon: &Daemon, database: &TestDatabase, token: &str) {
    let long = format!("x={}", "x".repeat(9_000));
    let keyed = format!("{EVENT}&id=k");
    let batch = "{\"timestamp\":1431857103000,\"user\":\"anna\",\"event\":\"click\"}\n";
    let other_batch = batch.replace("anna", "ben");
    let in_hour = |hour: i64| format!("{{\"timestamp\":{},\"user\":\"anna\",\"event\":\"click\"}}\n", hour * 3_600_000);
    let many_hours: String = (0..300).map(in_hour).collect();
    for (method, path, query, body) in [
        (Method::POST, "/analytics", EVENT, ""),
        (Method::POST, "/analytics", &keyed, ""),
        (Method::POST, "/analytics", &keyed, ""),
        (Method::POST, "/analytics", "timestamp=1431857103000&user=ben&event=click&id=k", ""),
        (Method::POST, "/analytics", "timestamp=x", ""),
        (Method::POST, "/analytics", &long, ""),
        (Method::GET, "/analytics", "timestamp=0", ""),
        (Method::GET, "/analytics", "", ""),
        (Method::GET, "/analytics", &long, ""),
        (Method::POST, "/analytics/batch", "", batch),
        (Method::POST, "/analytics/batch", "id=b", batch),
        (Method::POST, "/analytics/batch", "id=k", batch.trim_end()),
        (Method::POST, "/analytics/batch", "id=b", &other_batch),
        (Method::POST, "/analytics/batch", "", "nonsense"),
        (Method::POST, "/analytics/batch", "", &many_hours),
        (Method::POST, "/analytics/batch", &long, ""),
        (Method::GET, "/analytics/hours", "", ""),
        (Method::GET, "/analytics/hours", "from=2015-01-01T00:00:00Z&to=2015-05-01T00:00:00Z", ""),
        (Method::GET, "/analytics/hours", "from=x", ""),
        (Method::GET, "/analytics/hours", &long, ""),
        (Method::GET, "/analytics/periods", "from=2010-01-01&to=2015-05-01", ""),
        (Method::GET, "/analytics/periods", "step=x", ""),
        (Method::GET, "/analytics/periods", &long, ""),
        (Method::POST, "/analytics/batch", "source=s&from=0&to=9", batch),
        (Method::POST, "/analytics/batch", "source=s&from=0&to=9", batch),
        (Method::GET, "/analytics/sources", "prefix=s", ""),
        (Method::GET, "/analytics/sources", "", ""),
        (Method::GET, "/analytics/sources", &long, ""),
        (Method::GET, "/analytics/sites", "", ""),
        (Method::GET, "/analytics/stream", "", ""),
        (Method::GET, "/analytics/stream", &long, ""),
        (Method::GET, "/analytics.gif", "", ""),
        (Method::GET, "/analytics.gif", "event=x", ""),
        (Method::GET, "/analytics.gif", &format!("{EVENT}&id=p"), ""),
        (Method::GET, "/analytics.gif", &format!("{}&id=p", EVENT.replace("anna", "ben")), ""),
        (Method::GET, "/analytics.gif", &long, ""),
        (Method::GET, "/healthz", "", ""),
        (Method::GET, "/readyz", "", ""),
        (Method::GET, "/nothing", "", ""),
    ] {
        ask(seen, (daemon, Some(token)), &method, (path, query), (&[], body)).await;
    }
    let compressed = [("content-encoding", "br")];
    ask(seen, (daemon, Some(token)), &Method::POST, ("/analytics/batch", ""), (&compressed, batch)).await;

    let client = database.client().await;
    settle(&client, "2015-05-17T10:00:00Z", &[0]).await;
    let settled = ("/analytics/hours", "from=2015-05-17T10:00:00Z&to=2015-05-17T10:00:00Z");
    let first = ask(seen, (daemon, Some(token)), &Method::GET, settled, (&[], "")).await;
    let tag = first.headers()["etag"].to_str().unwrap();
    let again = ask(seen, (daemon, Some(token)), &Method::GET, settled, (&[("if-none-match", tag)], "")).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
}

/// The answers to denied requests, and to unknown methods.
async fn gate(seen: &mut Answers, daemon: &Daemon, operations: &[Operation], [write, read, admin]: &[String; 3]) {
    for Operation { method, path, scope } in operations {
        let other = ask(seen, (daemon, Some(admin)), &Method::DELETE, (path, ""), (&[], "")).await;
        assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED);
        let Some(scope) = scope else { continue };
        let wrong = if *scope == Scope::Write { read } else { write };
        for (token, query, status) in [
            (None, "", 401),
            (None, "key=an_x", 400),
            (None, "key=a&key=b", 400),
            (Some(admin.as_str()), "key=a", 400),
            (Some(wrong.as_str()), "", 403),
        ] {
            let refused = ask(seen, (daemon, token), method, (path, query), (&[], "")).await;
            assert_eq!(refused.status(), status, "{method} {path}?{query}");
        }
    }
}

/// The answers to heads that no ordinary client would send.
async fn heads(seen: &mut Answers, daemon: &Daemon, operations: &[Operation], token: &str) {
    let long = format!("Host: localhost\r\nX: {}\r\n", "x".repeat(20_000));
    for Operation { method, path, .. } in operations {
        let mut heads = vec!["", &long];
        // A batch is read, however long it is.
        if path != "/analytics/batch" {
            heads.push("Host: localhost\r\nContent-Length: 100000\r\n");
        }
        for head in heads {
            let head =
                format!("{method} {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nOrigin: {ORIGIN}\r\n{head}\r\n");
            seen.read(method, path, &mut connect_and_send(daemon, head.as_bytes()).await).await;
        }
    }
}

/// The answers of rate limits.
async fn eager(seen: &mut Answers, database: &TestDatabase, operations: &[Operation]) {
    let daemon = closed(database, &["--cors-origins", ORIGIN, "--rate-limit-per-address", "1/h:1"]).await;
    for path in ["/readyz", "/readyz"] {
        ask(seen, (&daemon, None), &Method::GET, (path, ""), (&[], "")).await;
    }
    for Operation { method, path, scope } in operations {
        if scope.is_some() {
            let refused = ask(seen, (&daemon, None), method, (path, ""), (&[], "")).await;
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{method} {path}");
        }
    }
}

/// The answers while all connections are taken.
async fn without_places(seen: &mut Answers, database: &TestDatabase, operations: &[Operation]) {
    let daemon = closed(database, &["--max-connections", "1", "--header-timeout", "1h"]).await;
    let mut only = connect(&daemon).await;
    only.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    only.read_u8().await.unwrap();
    for Operation { method, path, .. } in operations {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        seen.read(method, path, &mut connect_and_send(&daemon, head.as_bytes()).await).await;
    }
}

/// The answers without the database, of a daemon that does not know its tokens and of one that needs none.
async fn without_database(seen: &mut Answers, operations: &[Operation]) {
    let dir = harness::server_dir();
    let spool = dir.path().join("spool");
    let arguments = ["--database-url", "postgres://x@127.0.0.1:1/x", "--spool", spool.to_str().unwrap()];
    let arguments = || arguments.into_iter().chain(LIMITS);
    let daemon = Daemon::start_with(arguments()).await;
    for Operation { method, path, .. } in operations.iter().filter(|operation| operation.path != "/healthz") {
        let refused = ask(seen, (&daemon, None), method, (path, ""), (&[], "")).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{method} {path}");
    }
    daemon.kill().await;

    let daemon = Daemon::start_with(arguments().chain(["--allow-anonymous", "--body-timeout", "3s"])).await;
    let batch = "{\"timestamp\":1431857103000,\"user\":\"anna\",\"event\":\"click\"}";
    for (method, path, query, body) in [
        (Method::POST, "/analytics", EVENT, ""),
        (Method::POST, "/analytics/batch", "", batch),
        (Method::GET, "/analytics.gif", "user=anna", ""),
    ] {
        let kept = ask(seen, (&daemon, None), &method, (path, query), (&[], body)).await;
        assert_eq!(kept.status(), StatusCode::ACCEPTED, "{path}");
    }
    let (method, path) = (Method::POST, "/analytics/batch");
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nContent-Length: 9\r\n\r\n{{");
    seen.read(&method, path, &mut connect_and_send(&daemon, head.as_bytes()).await).await;
}
