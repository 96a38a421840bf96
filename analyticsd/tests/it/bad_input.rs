use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::Problem;
use reqwest::{Method, StatusCode};

use crate::support::stored_events;

/// Sends a request and checks that the answer is a problem of that status. Returns the problem and the Allow header.
async fn problem(daemon: &Daemon, method: Method, target: &str, status: u16) -> (Problem, Option<String>) {
    let request = reqwest::Client::new().request(method.clone(), format!("{}{target}", daemon.url()));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), status, "{method} {target}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{method} {target}");
    let allow = answer.headers().get("allow").map(|value| value.to_str().unwrap().to_owned());
    let problem: Problem = answer.json().await.unwrap();
    assert_eq!(problem.status, status);
    (problem, allow)
}

#[tokio::test]
async fn a_bad_event_gets_400_with_the_parameter_the_fault_and_what_is_accepted_and_is_not_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let long = "x".repeat(257);
    let table = [
        ("", "timestamp", "is missing"),
        ("user=a&event=click", "timestamp", "is missing"),
        ("timestamp=&user=a&event=click", "timestamp", "is empty"),
        ("timestamp=1&timestamp=2&user=a&event=click", "timestamp", "more than once"),
        ("timestamp=soon&user=a&event=click", "timestamp", "is not an integer"),
        ("timestamp=1.5&user=a&event=click", "timestamp", "is not an integer"),
        ("timestamp=-1&user=a&event=click", "timestamp", "is negative"),
        ("timestamp=253402300800000&user=a&event=click", "timestamp", "is later than"),
        ("timestamp=9223372036854775808&user=a&event=click", "timestamp", "is later than"),
        ("timestamp=1&event=click", "user", "is missing"),
        ("timestamp=1&user=&event=click", "user", "is empty"),
        ("timestamp=1&user=a&user=a&event=click", "user", "more than once"),
        ("timestamp=1&user=a%00b&event=click", "user", "holds a NUL"),
        ("timestamp=1&user=%c3%28&event=click", "user", "is not UTF-8"),
        (&format!("timestamp=1&user={long}&event=click"), "user", "has 257 bytes"),
        ("timestamp=1&user=a", "event", "is missing"),
        ("timestamp=1&user=a&event=", "event", "is empty"),
        ("timestamp=1&user=a&event=Click", "event", "is unknown"),
        ("timestamp=1&user=a&event=click&event=click", "event", "more than once"),
    ];
    for (query, parameter, fault) in table {
        let (problem, _) = problem(&daemon, Method::POST, &format!("/analytics?{query}"), 400).await;
        assert_eq!(problem.parameter.as_deref(), Some(parameter), "{query}");
        assert!(problem.detail.contains(fault), "{query} gave {problem:?}");
        assert!(problem.accepted.is_some_and(|accepted| problem.detail.contains(&accepted)), "{query}");
    }
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn a_bad_question_gets_400_and_what_it_does_not_ask_about_is_ignored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (query, fault) in [("", "is missing"), ("timestamp=x", "is not an integer"), ("timestamp=-5", "is negative")] {
        let (problem, _) = problem(&daemon, Method::GET, &format!("/analytics?{query}"), 400).await;
        assert!(problem.detail.contains(fault), "{query} gave {problem:?}");
    }
    let answer = daemon.get("/analytics?timestamp=1&user=&user=&event=nonsense").await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_path_method_or_size_gets_its_own_status() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for path in ["/nothing", "/analytics/", "/analytics/x", "/Analytics", "/analytics/batch/x"] {
        problem(&daemon, Method::GET, path, 404).await;
    }
    let table = [
        (Method::PUT, "/analytics?timestamp=1&user=a&event=click", "GET, HEAD, POST"),
        (Method::DELETE, "/analytics", "GET, HEAD, POST"),
        (Method::OPTIONS, "/analytics", "GET, HEAD, POST"),
        (Method::GET, "/analytics/batch", "POST"),
        (Method::POST, "/", "GET, HEAD"),
        (Method::POST, "/analytics/hours", "GET, HEAD"),
        (Method::POST, "/analytics/stream", "GET"),
        (Method::POST, "/analytics.gif", "GET"),
        (Method::POST, "/openapi.json", "GET, HEAD"),
        (Method::POST, "/docs", "GET, HEAD"),
        (Method::POST, "/healthz", "GET, HEAD"),
        (Method::POST, "/readyz", "GET, HEAD"),
    ];
    for (method, path, allowed) in table {
        let (_, allow) = problem(&daemon, method, path, 405).await;
        assert_eq!(allow.as_deref(), Some(allowed), "{path}");
    }
    let long = "x".repeat(9_000);
    for method in [Method::GET, Method::POST] {
        problem(&daemon, method, &format!("/analytics?timestamp=1&user=a&event=click&more={long}"), 414).await;
    }
    let url = format!("{}/analytics?timestamp=1&user=a&event=click", daemon.url());
    let too_large = reqwest::Client::new().post(url).body(vec![b'x'; 100_000]).send().await.unwrap();
    assert_eq!(too_large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(stored_events(&database).await, 0);
}

/// The daemon's answers to these bytes, until it closes the connection.
async fn answer_to(daemon: &Daemon, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(daemon.url().strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_request_without_a_path_gets_an_answer_too() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let request = "CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80\r\nConnection: close\r\n\r\n";
    let answer = answer_to(&daemon, request).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[tokio::test]
async fn a_request_names_one_host_as_its_version_of_http_requires() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (version, hosts, status) in [
        ("1.1", "", 400),
        ("1.1", "Host: localhost\r\n", 200),
        ("1.1", "Host: localhost\r\nHost: localhost\r\n", 400),
        ("1.0", "", 200),
        ("1.0", "Host: localhost\r\n", 200),
        ("1.0", "Host: localhost\r\nHost: localhost\r\n", 400),
    ] {
        for path in ["/analytics?timestamp=0", "/healthz"] {
            let request = format!("GET {path} HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
            let answer = answer_to(&daemon, &request).await;
            assert!(answer.starts_with(&format!("HTTP/{version} {status}")), "{request}{answer}");
        }
    }
}

#[tokio::test]
async fn a_request_states_its_length_once_or_its_connection_ends() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let line = "{\"timestamp\":1431857103000,\"user\":\"anna\",\"event\":\"click\"}";
    let chunked = format!("{:x}\r\n{line}\r\n0\r\n\r\n", line.len());
    let next = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for (headers, body, statuses) in [
        ("Transfer-Encoding: chunked", chunked.as_str(), &[204, 200][..]),
        ("Transfer-Encoding: Chunked ", &chunked, &[204, 200]),
        (&format!("Content-Length: {}", line.len()), line, &[204, 200]),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", &chunked, &[400]),
        ("Transfer-Encoding: chunked, chunked", &chunked, &[400]),
        ("Transfer-Encoding: gzip, chunked", &chunked, &[400]),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", &chunked, &[400]),
        ("Transfer-Encoding: chunked, gzip", &chunked, &[400]),
        ("Transfer-Encoding: identity", &chunked, &[400]),
        // The chunks take precedence and the connection ends, as RFC 9112, section 6.3, requires.
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", &chunked, &[204]),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", &chunked, &[204]),
        ("Content-Length: 1\r\nContent-Length: 2", line, &[400]),
        ("Content-Length: 1, 1", line, &[400]),
        ("Content-Length: +1", line, &[400]),
    ] {
        let request = format!("POST /analytics/batch HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}{next}");
        let answer = answer_to(&daemon, &request).await;
        let seen: Vec<u16> = answer.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect();
        assert_eq!(seen, statuses, "{headers}\n{answer}");
    }
    assert_eq!(stored_events(&database).await, 5);
    let request = format!(
        "POST /analytics?timestamp=1&user=a&event=click HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, \
         chunked\r\n\r\n{chunked}{next}"
    );
    let answer = answer_to(&daemon, &request).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
}

#[tokio::test]
async fn parameters_in_a_form_get_400_which_says_where_they_belong() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let form = "timestamp=1431857103000&user=anna&event=click";
    let post = async |url: String| {
        let request = reqwest::Client::new().post(url).body(form);
        request.header("content-type", "application/x-www-form-urlencoded; charset=utf-8").send().await.unwrap()
    };
    let answer = post(format!("{}/analytics", daemon.url())).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.json::<Problem>().await.unwrap().detail.contains("in the query of the URL"));
    // Whoever sends both is understood.
    assert_eq!(post(format!("{}/analytics?{form}", daemon.url())).await.status(), 204);
    assert_eq!(stored_events(&database).await, 1);
}

#[tokio::test]
async fn a_batch_with_a_coding_that_is_not_accepted_gets_415_and_those_that_are() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let line = "{\"timestamp\":1431857103000,\"user\":\"anna\",\"event\":\"click\"}";
    for (coding, status) in [("identity", 204), ("Identity, ", 204), ("gzip, gzip", 415), ("br", 415), ("x", 415)] {
        let request = reqwest::Client::new().post(format!("{}/analytics/batch", daemon.url())).body(line);
        let answer = request.header("content-encoding", coding).send().await.unwrap();
        assert_eq!(answer.status(), status, "{coding}");
        if status == 415 {
            assert_eq!(answer.headers()["accept-encoding"], "gzip, zstd, identity");
            assert!(answer.json::<Problem>().await.unwrap().detail.contains("gzip or zstd"));
        }
    }
    assert_eq!(stored_events(&database).await, 2);
}
