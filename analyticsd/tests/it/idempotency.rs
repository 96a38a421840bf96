use chrono::{DateTime, Utc};
use db::{AccessTokens, Flavour, NewAccessToken, Store, StoreOptions};
use harness::{Daemon, TestDatabase, on_both_flavours, settle};
use model::{
    Problem,
    access::{IssuedToken, Scope},
};
use reqwest::{Method, StatusCode};
use tokio::task::JoinSet;

use crate::{
    spool::{Away, until_replayed},
    support::{at, counts, stored_events},
    tokens::{closed, public_key, send, token},
};

on_both_flavours!(
    a_repeated_request_is_stored_once_by_any_replica_and_after_settling,
    another_event_under_a_key_that_is_taken_gets_409_and_is_not_stored,
    a_batch_counts_once_under_its_key_and_its_lines_under_theirs,
    events_of_a_public_key_do_not_use_up_the_idempotency_keys_of_others,
);

const TEN: &str = "2015-05-17T10:00:00Z";
/// The origin of these tests' public keys.
const SHOP: (&str, &str) = ("origin", "https://shop.example");

/// How the key of a request is given.
enum Key<'a> {
    Header(&'a str),
    Parameter(&'a str),
}

async fn post(daemon: &Daemon, at: DateTime<Utc>, user: &str, key: &[Key<'_>]) -> reqwest::Response {
    let mut url = format!("{}/analytics?timestamp={}&user={user}&event=click", daemon.url(), at.timestamp_millis());
    let mut headers = reqwest::header::HeaderMap::new();
    for key in key {
        match key {
            Key::Header(key) => drop(headers.append("idempotency-key", key.parse().unwrap())),
            Key::Parameter(key) => url = format!("{url}&id={key}"),
        }
    }
    daemon.http().post(url).headers(headers).send().await.unwrap()
}

async fn post_batch(daemon: &Daemon, key: Option<&str>, lines: &str) -> reqwest::Response {
    let mut request = daemon.http().post(format!("{}/analytics/batch", daemon.url())).body(lines.to_owned());
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.send().await.unwrap()
}

async fn a_repeated_request_is_stored_once_by_any_replica_and_after_settling(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    // Neither of them settles, because the test does.
    let replicas = [
        Daemon::start_with(["--database-url", database.url(), "--settle-after", "1h"]).await,
        Daemon::start_with(["--database-url", database.url(), "--settle-after", "1h"]).await,
    ];
    for (key, replica) in [
        (Key::Header("k-1"), &replicas[0]),
        (Key::Parameter("k-1"), &replicas[1]),
        (Key::Header("\"k-1\""), &replicas[1]),
    ] {
        assert_eq!(post(replica, at(TEN), "anna", &[key]).await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(replicas[0].counts(at(TEN)).await, counts(1, 1, 0));

    settle(&database.client().await, TEN, &[0]).await;
    assert_eq!(post(&replicas[1], at(TEN), "anna", &[Key::Header("k-1")]).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(post(&replicas[1], at(TEN), "anna", &[Key::Header("k-2")]).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(replicas[0].counts(at(TEN)).await, counts(1, 2, 0), "another key is another event");
    assert_eq!(stored_events(&database).await, 2);
}

async fn another_event_under_a_key_that_is_taken_gets_409_and_is_not_stored(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start(database.url()).await;
    assert_eq!(post(&daemon, at(TEN), "anna", &[Key::Header("k")]).await.status(), StatusCode::NO_CONTENT);
    let refused = post(&daemon, at(TEN), "ben", &[Key::Header("k")]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let problem: Problem = refused.json().await.unwrap();
    assert_eq!(problem.parameter.as_deref(), Some("id"));
    assert!(problem.detail.contains("use a new key"), "{problem:?}");
    let line = |user: &str, id: &str| {
        let millis = at(TEN).timestamp_millis();
        format!("{{\"timestamp\":{millis},\"user\":\"{user}\",\"event\":\"click\",\"id\":\"{id}\"}}\n")
    };
    let refused = post_batch(&daemon, None, &[line("carla", "new"), line("ben", "k")].concat()).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(refused.json::<Problem>().await.unwrap().line, Some(2), "the line is named");
    assert_eq!(daemon.counts(at(TEN)).await, counts(1, 1, 0));
    assert_eq!(
        post(&daemon, at("2015-05-17T11:00:00Z"), "ben", &[Key::Header("k")]).await.status(),
        StatusCode::NO_CONTENT,
        "in another hour it is another key"
    );
    assert_eq!(stored_events(&database).await, 2);
}

async fn a_batch_counts_once_under_its_key_and_its_lines_under_theirs(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start(database.url()).await;
    let line = |user: &str, id: &str| {
        let id = if id.is_empty() { String::new() } else { format!(r#","id":"{id}""#) };
        format!("{{\"timestamp\":{},\"user\":\"{user}\",\"event\":\"click\"{id}}}\n", at(TEN).timestamp_millis())
    };
    let status = async |key, lines: &str| post_batch(&daemon, key, lines).await.status();

    let whole = line("anna", "") + &line("anna", "");
    for _ in 0..2 {
        assert_eq!(status(Some("batch"), &whole).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(status(Some("batch"), &line("anna", "")).await, StatusCode::CONFLICT);
    assert_eq!(daemon.counts(at(TEN)).await, counts(1, 2, 0));

    // A resumed import: some of its lines are stored, some are not, some have no key.
    assert_eq!(status(None, &(line("ben", "1") + &line("carl", "2"))).await, StatusCode::NO_CONTENT);
    let resumed = line("carl", "2") + &line("dora", "") + &line("emil", "3") + &line("ben", "1");
    assert_eq!(status(None, &resumed).await, StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(at(TEN)).await, counts(5, 6, 0));
    assert_eq!(status(None, &(line("fred", "4") + &line("gina", "1"))).await, StatusCode::CONFLICT);

    let twice = post_batch(&daemon, None, &(line("ben", "5") + &line("ben", "5"))).await;
    assert_eq!(twice.status(), StatusCode::BAD_REQUEST);
    assert_eq!(twice.json::<Problem>().await.unwrap().line, Some(2));
    assert_eq!(status(Some("both"), &line("ben", "6")).await, StatusCode::BAD_REQUEST);
    assert_eq!(
        daemon.counts(at(TEN)).await,
        counts(5, 6, 0),
        "neither the refused event nor the rest of its batch is stored"
    );
}

#[tokio::test]
async fn a_key_that_is_not_accepted_gets_400_and_stores_nothing() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let long = "x".repeat(256);
    let table: [(&[Key<'_>], &str); 8] = [
        (&[Key::Header("")], "idempotency-key"),
        (&[Key::Header("a b")], "idempotency-key"),
        (&[Key::Header("\u{e4}")], "idempotency-key"),
        (&[Key::Header(&long)], "idempotency-key"),
        (&[Key::Header("a"), Key::Header("a")], "idempotency-key"),
        (&[Key::Parameter("")], "id"),
        (&[Key::Parameter("a%20b")], "id"),
        (&[Key::Header("a"), Key::Parameter("b")], "id"),
    ];
    for (key, parameter) in table {
        let refused = post(&daemon, at(TEN), "anna", key).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let problem: Problem = refused.json().await.unwrap();
        assert_eq!(problem.parameter.as_deref(), Some(parameter), "{problem:?}");
    }
    assert_eq!(stored_events(&database).await, 0);
    let same = [Key::Header("a"), Key::Parameter("a")];
    assert_eq!(post(&daemon, at(TEN), "anna", &same).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_same_request_from_many_clients_at_once_is_stored_once_and_all_get_204() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let replicas = [Daemon::start(database.url()).await, Daemon::start(database.url()).await];
    let now = Utc::now();
    for round in 0..20 {
        let mut clients = JoinSet::new();
        for number in 0..16 {
            let query = format!("timestamp={}&user=user-{round}&event=click&id=key-{round}", now.timestamp_millis());
            let url = format!("{}/analytics?{query}", replicas[number % 2].url());
            clients.spawn(async move { reqwest::Client::new().post(url).send().await.unwrap().status() });
        }
        assert!(clients.join_all().await.iter().all(|status| *status == StatusCode::NO_CONTENT));
    }
    assert_eq!(replicas[0].counts(now).await, counts(20, 20, 0));
}

/// As after an outage, when all clients repeat their unanswered requests.
#[tokio::test]
async fn clients_that_repeat_one_key_get_answers_and_delay_no_others() {
    const REPEATERS: usize = 64;
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = std::sync::Arc::new(Daemon::start(database.url()).await);
    let mut repeaters = JoinSet::new();
    for _ in 0..REPEATERS {
        let daemon = std::sync::Arc::clone(&daemon);
        repeaters.spawn(async move {
            loop {
                assert_eq!(post(&daemon, at(TEN), "anna", &[Key::Header("k")]).await.status(), StatusCode::NO_CONTENT);
            }
        });
    }
    for number in 0..20 {
        let other = format!("other-{number}");
        assert_eq!(post(&daemon, at(TEN), "ben", &[Key::Header(&other)]).await.status(), StatusCode::NO_CONTENT);
        assert_eq!(post(&daemon, at(TEN), "carl", &[]).await.status(), StatusCode::NO_CONTENT);
    }
    assert!(repeaters.try_join_next().is_none(), "every repetition was answered 204");
    repeaters.shutdown().await;
    assert_eq!(daemon.counts(at(TEN)).await, counts(3, 41, 0));
}

async fn events_of_a_public_key_do_not_use_up_the_idempotency_keys_of_others(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let secret = format!("Bearer {}", token(&database, &[Scope::Write]).await);
    let keys = [
        public_key(&database, &["https://shop.example"]).await,
        public_key(&database, &["https://shop.example"]).await,
    ];
    let daemon = closed(&database, &[]).await;
    let longest = "x".repeat(255);
    let event = format!("timestamp={}&event=click", at(TEN).timestamp_millis());
    let page = async |key: &str, user: &str, id: &str| {
        let target = format!("/analytics?{event}&user={user}&key={key}");
        let parameter = send(&daemon, Method::POST, &format!("{target}&id={id}"), &[SHOP]).await.status();
        let header = send(&daemon, Method::POST, &target, &[SHOP, ("idempotency-key", id)]).await.status();
        assert_eq!(parameter, header, "header and parameter give the same key");
        header
    };
    let server = async |user: &str, id: &str| {
        let target = format!("/analytics?{event}&user={user}");
        let headers = [("authorization", secret.as_str()), ("idempotency-key", id)];
        send(&daemon, Method::POST, &target, &headers).await.status()
    };
    for id in ["order-1", &longest] {
        assert_eq!(page(&keys[0], "mallory", id).await, StatusCode::NO_CONTENT);
        assert_eq!(server("anna", id).await, StatusCode::NO_CONTENT, "no page takes the key of a server");
        assert_eq!(page(&keys[1], "ben", id).await, StatusCode::NO_CONTENT, "nor of another site");
        assert_eq!(page(&keys[0], "carl", id).await, StatusCode::CONFLICT, "those of one public key share theirs");
        assert_eq!(server("dora", id).await, StatusCode::CONFLICT, "and so do tokens, as ever");
    }
    assert_eq!(page(&keys[0], "mallory", &format!("{longest}x")).await, StatusCode::BAD_REQUEST);
    let batch = format!("{{\"timestamp\":{},\"user\":\"anna\",\"event\":\"click\"}}", at(TEN).timestamp_millis());
    let url = format!("{}/analytics/batch?id=order-1", daemon.url());
    let batch = reqwest::Client::new().post(url).header("authorization", &secret).body(batch).send().await.unwrap();
    assert_eq!(batch.status(), StatusCode::NO_CONTENT, "the same event under the same key of tokens");
    assert_eq!(stored_events(&database).await, 6);
}

#[tokio::test]
async fn a_public_key_has_its_own_idempotency_keys_also_in_the_spool() {
    let mut database = Away::not_yet().await;
    let issued = IssuedToken::public([3; IssuedToken::RANDOM_BYTES]);
    let key = NewAccessToken {
        origins: vec![SHOP.1.parse().unwrap()],
        ..NewAccessToken::new(&issued, "shop".parse().unwrap(), [Scope::Write].into_iter().collect())
    };
    let store = Store::new(database.url(), StoreOptions::default()).unwrap();
    assert!(AccessTokens(&store).create(&key).await.unwrap());
    let daemon = database.daemon(&[]).await;
    let event = format!("/analytics?timestamp={}&event=click&id=order-1", at(TEN).timestamp_millis());
    let page = format!("{event}&user=mallory&key={}", issued.text);
    let without_key = format!("{event}&user=anna");
    database.go().await;
    for target in [&page, &without_key] {
        assert_eq!(send(&daemon, Method::POST, target, &[SHOP]).await.status(), StatusCode::ACCEPTED);
    }
    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(daemon.counts(at(TEN)).await, counts(2, 2, 0), "neither is mistaken for the other's");
    for target in [&page, &without_key] {
        while send(&daemon, Method::POST, target, &[SHOP]).await.status() != StatusCode::NO_CONTENT {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    assert_eq!(daemon.counts(at(TEN)).await, counts(2, 2, 0), "both are known again");
}
