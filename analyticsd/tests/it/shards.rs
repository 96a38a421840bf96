use std::process::Stdio;

use db::Flavour;
use harness::{Daemon, TestDatabase, TestShards, on_both_flavours};
use model::{HourCounts, HoursPage, Problem, ShardCount, SourceList, UserName};
use reqwest::{Response, StatusCode};

use crate::support::{at, counts};

on_both_flavours!(
    what_shards_count_adds_up_and_each_visitor_is_in_one,
    a_batch_under_a_key_is_stored_once_in_every_shard,
    a_source_is_stored_once_in_every_shard,
);

pub(crate) const HOUR: &str = "2015-05-17T10:30:00Z";
const TEN: i64 = 1_431_856_800_000;

/// The first visitor of a numbered row that is in a shard of so many.
pub(crate) fn visitor_of(shard: usize, shards: usize) -> String {
    let count = ShardCount::new(shards).unwrap();
    let names = (0..).map(|number| format!("visitor-{number}"));
    let is_of = |name: &String| count.shard_of(&UserName::new(name.clone()).unwrap()) == shard;
    names.into_iter().find(is_of).unwrap()
}

/// A click of each of so many visitors.
pub(crate) fn clicks(visitors: std::ops::Range<u64>) -> String {
    let line = |n| format!("{{\"timestamp\":{TEN},\"user\":\"u{n}\",\"event\":\"click\"}}\n");
    visitors.map(line).collect()
}

pub(crate) async fn send(daemon: &Daemon, query: &str, body: String) -> Response {
    let url = format!("{}/analytics/batch?{query}", daemon.url());
    daemon.http().post(url).body(body).send().await.unwrap()
}

/// What each shard has stored, as the sum over all.
async fn stored(shards: &TestShards) -> Vec<u64> {
    let mut stored = Vec::new();
    for (shard, store) in shards.shards().iter().enumerate() {
        let events = store.stored_events().await.unwrap();
        for (_, _, user, _) in &events {
            assert_eq!(shards.shards().count().shard_of(user), shard, "{user} is in the wrong shard");
        }
        stored.push(events.iter().map(|(.., count)| count).sum());
    }
    stored
}

async fn what_shards_count_adds_up_and_each_visitor_is_in_one(flavour: Flavour) {
    let shards = TestShards::new(&[flavour; 3]).await;
    // As two replicas, of which each reads what the other wrote.
    let (one, other) = (Daemon::start_with(shards.arguments()).await, Daemon::start_with(shards.arguments()).await);
    let mut expected = HourCounts::default();
    for number in 0..40 {
        let user = format!("visitor-{}", number % 25);
        let event = if number % 3 == 0 { "click" } else { "impression" };
        assert_eq!(one.post(at(HOUR), &user, event).await, StatusCode::NO_CONTENT);
        expected.unique_users = expected.unique_users.max(number % 25 + 1);
        *(if event == "click" { &mut expected.clicks } else { &mut expected.impressions }) += 1;
        assert_eq!(other.counts(at(HOUR)).await, expected, "after event {number}");
    }
    let stored = stored(&shards).await;
    assert!(stored.iter().sum::<u64>() == 40 && stored.iter().all(|events| *events > 0), "{stored:?}");
    let page = one.get("/analytics/hours?from=2015-05-17T09:00:00Z&to=2015-05-17T12:00:00Z").await;
    let page: HoursPage = page.json().await.unwrap();
    assert_eq!((page.hours[1].counts, page.unique_users), (expected, Some(25)));
    assert_eq!((page.totals.clicks, page.totals.impressions), (expected.clicks, expected.impressions));
}

#[tokio::test]
async fn shards_may_be_of_both_flavours() {
    let shards = TestShards::new(&[Flavour::Postgres, Flavour::Timescale]).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    for shard in 0..2 {
        assert_eq!(daemon.post(at(HOUR), &visitor_of(shard, 2), "click").await, StatusCode::NO_CONTENT);
    }
    assert_eq!(daemon.counts(at(HOUR)).await, counts(2, 2, 0));
    assert_eq!(stored(&shards).await, [1, 1]);
}

async fn a_batch_under_a_key_is_stored_once_in_every_shard(flavour: Flavour) {
    let shards = TestShards::new(&[flavour; 2]).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    let refused = send(&daemon, "", clicks(0..9)).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let problem: Problem = refused.json().await.unwrap();
    assert!(problem.detail.contains("several databases"), "{problem:?}");
    assert_eq!(daemon.counts(at(HOUR)).await, counts(0, 0, 0));

    for repeated in [None, Some("clicks=9, impressions=0")] {
        let answer = send(&daemon, "id=one", clicks(0..9)).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers().get("analytics-repeated").map(|it| it.to_str().unwrap()), repeated);
    }
    // Nothing of it is stored in the shard that has no such key of another batch.
    let other = send(&daemon, "id=one", clicks(5..30)).await;
    assert_eq!(other.status(), StatusCode::CONFLICT);
    assert_eq!(daemon.counts(at(HOUR)).await, counts(9, 9, 0));

    let keyed = |n| format!("{{\"timestamp\":{TEN},\"user\":\"k{n}\",\"event\":\"click\",\"id\":\"{n}\"}}\n");
    let lines = |range: std::ops::Range<u64>| range.map(keyed).collect::<String>();
    for range in [0..4, 2..8, 0..8] {
        assert_eq!(send(&daemon, "", lines(range)).await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(daemon.counts(at(HOUR)).await, counts(17, 17, 0));
    assert_eq!(stored(&shards).await.iter().sum::<u64>(), 17);
}

async fn a_source_is_stored_once_in_every_shard(flavour: Flavour) {
    let shards = TestShards::new(&[flavour; 2]).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    let part = async |from: u64, to: u64| {
        let answer = send(&daemon, &format!("source=log&from={from}&to={to}"), clicks(from..to)).await;
        let status = answer.status();
        let problem: Option<Problem> =
            if status == StatusCode::NO_CONTENT { None } else { answer.json().await.unwrap() };
        (status.as_u16(), problem.and_then(|problem| problem.position))
    };
    assert_eq!(part(0, 10).await, (204, None));
    assert_eq!(part(0, 10).await, (204, None));
    assert_eq!(part(10, 11).await, (204, None));
    assert_eq!(part(5, 20).await, (409, Some(11)));
    assert_eq!(part(11, 40).await, (204, None));
    let list: SourceList = daemon.get("/analytics/sources?prefix=log").await.json().await.unwrap();
    assert_eq!((list.sources.len(), list.sources[0].position), (1, 40));
    assert_eq!(daemon.counts(at(HOUR)).await, counts(40, 40, 0));
}

#[tokio::test]
async fn a_list_that_is_not_that_of_the_counter_is_refused_before_anything_is_written() {
    let shards = TestShards::new(&[Flavour::Postgres; 3]).await;
    let other = TestShards::new(&[Flavour::Postgres; 3]).await;
    let alone = TestDatabase::new(Flavour::Postgres).await;
    let new = TestDatabase::without_schema(Flavour::Postgres).await;
    let [a, b, c] = [0, 1, 2].map(|shard| shards.databases()[shard].url());
    let foreign = other.databases()[2].url();
    for (urls, fault) in [
        (vec![b, a, c], "is shard 1 of 3, and the settings name it as shard 0 of 3"),
        (vec![a, b], "is shard 0 of 3, and the settings name it as shard 0 of 2; name all 3 shards"),
        (vec![a], "is shard 0 of 3, and the settings name it as shard 0 of 1"),
        (vec![a, b, b], "is shard 1 of 3, and the settings name it as shard 2 of 3"),
        (vec![a, b, foreign], "is of the counter"),
        (vec![a, b, alone.url()], "is shard 0 of 1, and the settings name it as shard 2 of 3"),
        (vec![a, b, c, alone.url()], "is shard 0 of 3"),
        (vec![a, b, new.url()], "the database is new, and the others hold a counter that was complete before"),
    ] {
        let arguments = urls.iter().flat_map(|url| ["--shard", url]);
        let mut command = Daemon::command();
        command.args(arguments).args(["--migrate", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        let ended = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().await.unwrap();
        let log = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{log}");
        assert!(log.contains(fault), "{urls:?} gave {log}");
    }
    let schemas = "select count(*) from pg_namespace where nspname = 'analytics'";
    assert_eq!(new.client().await.query_one(schemas, &[]).await.unwrap().get::<_, i64>(0), 0, "it is still new");
}
