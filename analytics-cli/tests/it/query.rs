use crate::{
    command, run,
    server::{Answer, TestServer},
};

/// Answers with the number of the hour since 1970 as clicks.
fn counting_server() -> TestServer {
    TestServer::with(|request| {
        let millis: i64 = request.head.strip_prefix("GET /analytics?timestamp=").unwrap().parse().unwrap();
        Answer::Text(format!("unique_users,1\nclicks,{}\nimpressions,0\n", millis / 3_600_000))
    })
}

#[test]
fn every_hour_of_a_range_is_asked_for_and_printed_in_order() {
    let server = counting_server();
    let run = run(&server, &["query", "--from", "3599999", "--to", "1970-01-03T00:00:00Z", "--format", "csv"], b"");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let clicks: Vec<_> = run.stdout.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..=48).map(|hour| hour.to_string()).collect();
    assert_eq!(clicks, expected);
    assert_eq!(server.requests().len(), 49);
}

#[test]
fn a_query_without_a_time_asks_for_the_current_hour() {
    let server = counting_server();
    let run = run(&server, &["query", "--format", "json"], b"");
    let hours: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let hour = hours[0]["hour"].as_str().unwrap();
    let age = chrono::Utc::now() - chrono::DateTime::parse_from_rfc3339(hour).unwrap().to_utc();
    assert!(age >= chrono::TimeDelta::zero() && age < chrono::TimeDelta::hours(2), "{hour}");
}

#[test]
fn an_overloaded_server_and_a_foreign_one_are_different_errors() {
    for (answer, code, reason) in [
        (Answer::Problem(503, "Too many requests.", None), 1, "refused with 503 (A problem): Too many requests."),
        (Answer::Text("<html>".to_owned()), 2, "which is no answer of analyticsd; is the address right?"),
        (Answer::Foreign(404), 1, "which is no answer of analyticsd; is the address right?"),
        (Answer::Nothing, 2, "did not answer the request"),
    ] {
        let server = TestServer::answering(std::slice::from_ref(&answer));
        let run = run(&server, &["query", "--at", "now"], b"");
        assert_eq!(run.code, code, "{answer:?}: {}", run.stderr);
        assert!(run.stderr.contains(reason), "{answer:?}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_do() {
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = command(&["query", "--server", &format!("http://127.0.0.1:{port}")]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("cannot reach http://127.0.0.1:{port}")), "{stderr}");
    assert!(stderr.contains("Start it with `analyticsd --embedded`"), "{stderr}");
}
