//! Rate limits, and the addresses of clients behind proxies.

use std::{collections::BTreeSet, time::Duration};

use chrono::Utc;
use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::access::Scope;
use reqwest::{Method, Response, StatusCode};

use crate::tokens::{closed, send, token};

const COUNT: &str = "/analytics?timestamp=0";

fn header(answer: &Response, name: &str) -> Option<String> {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

/// The headers of the limit, its remaining requests, and the policy, which only a refused request gets.
fn numbers(answer: &Response) -> [Option<String>; 3] {
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-policy"].map(|name| header(answer, name))
}

fn some(values: [&str; 3]) -> [Option<String>; 3] {
    values.map(|value| Some(value.to_owned()))
}

fn left(limit: &str, remaining: &str) -> [Option<String>; 3] {
    [Some(limit.to_owned()), Some(remaining.to_owned()), None]
}

#[tokio::test]
async fn a_token_beyond_its_rate_is_refused_with_retry_after_and_others_are_not() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let [eager, other] = [token(&database, &[Scope::Read]).await, token(&database, &[Scope::Read]).await]
        .map(|token| format!("Bearer {token}"));
    let daemon = closed(&database, &["--rate-limit-per-token", "1/h:3"]).await;
    let ask = async |token: &str| send(&daemon, Method::GET, COUNT, &[("authorization", token)]).await;
    for remaining in ["2", "1", "0"] {
        let answer = ask(&eager).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(numbers(&answer), left("3", remaining));
        assert!(header(&answer, "ratelimit-reset").unwrap().parse::<u64>().unwrap() <= 3 * 3_600);
    }
    let refused = ask(&eager).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(numbers(&refused), some(["3", "0", "1;w=3600;burst=3"]));
    let seconds: u64 = header(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&seconds));
    assert!(refused.text().await.unwrap().contains("This token sends more requests"));
    assert_eq!(ask(&other).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_page_and_its_files_do_not_count() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = closed(&database, &["--rate-limit-per-address", "1/h:1"]).await;
    let page = daemon.get("/").await.text().await.unwrap();
    let files: Vec<&str> =
        page.split('"').filter(|part| part.starts_with("/assets/")).chain(["/docs/", "/analytics.js"]).collect();
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let answer = daemon.get(file).await;
        assert_eq!((answer.status(), numbers(&answer)), (StatusCode::OK, [None, None, None]), "{file}");
    }
    assert_eq!(daemon.get("/openapi.json").await.status(), StatusCode::OK);
    assert_eq!(daemon.get("/openapi.json").await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn requests_beyond_a_tokens_scope_count_as_well() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let reads = format!("Bearer {}", token(&database, &[Scope::Read]).await);
    let daemon = closed(&database, &["--rate-limit-per-token", "1/h:2"]).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = "/analytics?timestamp=0&user=anna&event=click";
        seen.push(send(&daemon, Method::POST, event, &[("authorization", &reads)]).await.status().as_u16());
    }
    assert_eq!(seen, [403, 403, 429]);
}

/// A daemon with a limit for each address; the test is its proxy.
async fn behind_a_proxy(database: &TestDatabase, arguments: &[&str]) -> Daemon {
    let url = ["--database-url", database.url(), "--allow-anonymous", "--trusted-proxies", "127.0.0.1,10.0.0.0/8"];
    Daemon::start_with(url.iter().chain(arguments)).await
}

#[tokio::test]
async fn an_address_beyond_its_rate_is_refused_whatever_its_headers_claim() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = behind_a_proxy(&database, &["--rate-limit-per-address", "1/h:2"]).await;
    let ask = async |path: &str, forwarded: &str| {
        send(&daemon, Method::GET, path, &[("x-forwarded-for", forwarded), ("forwarded", "for=1.2.3.4")]).await
    };
    let first = ask(COUNT, "198.51.100.1").await;
    assert_eq!((first.status(), numbers(&first)), (StatusCode::OK, left("2", "1")));
    assert_eq!(ask("/readyz", "192.0.2.7, 198.51.100.1").await.status(), StatusCode::OK, "it counts as well");
    for forwarded in ["198.51.100.1", "192.0.2.8, 198.51.100.1", "192.0.2.9, 198.51.100.1:80, 10.1.2.3"] {
        for path in [COUNT, "/nothing", "/readyz"] {
            assert_eq!(ask(path, forwarded).await.status(), StatusCode::TOO_MANY_REQUESTS, "{path} {forwarded}");
        }
        assert_eq!(ask("/healthz", forwarded).await.status(), StatusCode::OK, "a probe has no rate limit");
    }
    assert_eq!(ask(COUNT, "198.51.100.2").await.status(), StatusCode::OK, "another address");
    for (network, status) in
        [("2001:db8::1", 200), ("2001:db8::2", 200), ("2001:db8::3", 429), ("2001:db8:0:1::1", 200)]
    {
        assert_eq!(ask(COUNT, network).await.status().as_u16(), status, "{network}");
    }
}

#[tokio::test]
async fn the_headers_of_an_untrusted_proxy_are_ignored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let limits = ["--trusted-proxies", "10.0.0.0/8", "--rate-limit-per-address", "1/h:2"];
    let url = ["--database-url", database.url(), "--allow-anonymous"];
    let daemon = Daemon::start_with(url.iter().chain(&limits)).await;
    let mut statuses = Vec::new();
    for address in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
        statuses.push(send(&daemon, Method::GET, COUNT, &[("x-forwarded-for", address)]).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn visitors_behind_a_proxy_have_names_by_their_own_addresses() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = behind_a_proxy(&database, &["--forwarded-header", "forwarded"]).await;
    for forwarded in ["for=198.51.100.1", "for=198.51.100.2", "for=\"198.51.100.1:4711\""] {
        let pixel = send(&daemon, Method::GET, "/analytics.gif", &[("forwarded", forwarded)]).await;
        assert_eq!(pixel.status(), StatusCode::OK);
    }
    assert_eq!(daemon.counts(Utc::now()).await.unique_users, 2);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_locks_no_client_out() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let right = format!("Bearer {}", token(&database, &[Scope::Read]).await);
    let daemon = closed(&database, &[]).await;
    let http = reqwest::Client::new();
    let guess = async |number: usize| {
        let token = format!("Bearer an_{number:012x}_{}", "A".repeat(43));
        http.get(format!("{}{COUNT}", daemon.url())).header("authorization", token).send().await.unwrap()
    };
    let mut seen = BTreeSet::new();
    let refused = tokio::time::timeout(Duration::from_mins(1), async {
        // More at a time than the limit allows in a second, so that a slow machine reaches it, too.
        loop {
            let answers = futures_util::future::join_all((0..100).map(&guess)).await;
            seen.extend(answers.iter().map(|answer| answer.status().as_u16()));
            if let Some(refused) = answers.into_iter().find(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS) {
                return refused;
            }
        }
    })
    .await
    .expect("guessing is slowed down");
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [401, 429]);
    assert_eq!(numbers(&refused), some(["60", "0", "10;w=1;burst=60"]));
    assert!(header(&refused, "retry-after").is_some());
    let answer = send(&daemon, Method::GET, COUNT, &[("authorization", &right)]).await;
    assert_eq!(answer.status(), StatusCode::OK, "other clients at the address are accepted");
}

#[tokio::test]
async fn without_limits_answers_have_no_headers_about_them() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let answer = daemon.get(COUNT).await;
    assert_eq!(numbers(&answer), [None, None, None]);
}
