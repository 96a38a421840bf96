use std::cell::Cell;

use db::{AccessTokens, NewAccessToken};
use harness::{Daemon, ShardServers};
use model::{
    Problem, SourceList,
    access::{IssuedToken, Scope},
};
use reqwest::StatusCode;

use crate::{
    shards::{HOUR, clicks, send, visitor_of},
    support::{at, counts},
};

const ADMIN: [&str; 3] = ["--admin-listen", "127.0.0.1:0", "--allow-anonymous"];

async fn daemon(servers: &ShardServers, more: &[&str]) -> Daemon {
    let more = ADMIN.iter().chain(more).map(|&argument| argument.to_owned());
    Daemon::start_with(servers.arguments().into_iter().chain(more)).await
}

async fn until<T: PartialEq + std::fmt::Debug>(expected: T, look: impl AsyncFn() -> T) {
    let mut seen = None;
    for _ in 0..600 {
        let found = look().await;
        if found == expected {
            return;
        }
        seen = Some(found);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{seen:?} did not become {expected:?}");
}

#[tokio::test]
async fn a_shard_that_is_away_refuses_its_visitors_and_nobody_elses() {
    let mut servers = ShardServers::start(3).await.unwrap();
    let daemon = daemon(&servers, &[]).await;
    let users = [0, 1, 2].map(|shard| visitor_of(shard, 3));
    let post = async |shard: usize| daemon.post(at(HOUR), &users[shard], "click").await.as_u16();
    for shard in 0..3 {
        assert_eq!(post(shard).await, 204);
    }
    servers.servers[1].stop().await.unwrap();
    until(503, async || post(1).await).await;
    assert_eq!((post(0).await, post(1).await, post(2).await), (204, 503, 204));

    let ready = daemon.get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::OK);
    let ready = ready.text().await.unwrap();
    assert!(ready.starts_with("ready\nShard 1: No event can be stored"), "{ready}");
    let hour = format!("/analytics?timestamp={}", at(HOUR).timestamp_millis());
    assert_eq!(daemon.get(&hour).await.status(), StatusCode::SERVICE_UNAVAILABLE, "a part is no answer");
    let storing =
        async |shard| daemon.metric(&format!("analyticsd_lane_storing{{lane=\"past\",shard=\"{shard}\"}}")).await;
    assert_eq!((storing(0).await, storing(1).await), (Some(1.0), Some(0.0)));

    servers.servers[1].start_again().await.unwrap();
    until(204, async || post(1).await).await;
    until(Some(StatusCode::OK), async || Some(daemon.get(&hour).await.status())).await;
    assert_eq!(daemon.counts(at(HOUR)).await, counts(3, 6, 0));
    until("ready\n".to_owned(), async || daemon.get("/readyz").await.text().await.unwrap()).await;
}

#[tokio::test]
async fn an_event_makes_a_site_once_all_shards_are_there_and_never_one_that_another_shard_knows() {
    let mut servers = ShardServers::start(2).await.unwrap();
    let token = token(&servers).await;
    let daemon = daemon(&servers, &["--new-sites", "10"]).await;
    let post = async |shard: usize, site: &str| post_to(&daemon, shard, &token, site).await;
    assert_eq!((post(0, "shop").await, post(1, "shop").await), (204, 204));
    servers.servers[1].stop().await.unwrap();
    until(503, async || post(1, "shop").await).await;
    assert_eq!((post(0, "blog").await, post(0, "shop").await), (503, 204));
    servers.servers[1].start_again().await.unwrap();
    until(204, async || post(0, "blog").await).await;

    // Shard 0 is restored from a backup without the sites, once the other knows them.
    let known = "select count(*) from analytics.sites";
    let other = servers.servers[1].client().await;
    until(2, async || other.query_one(known, &[]).await.unwrap().get::<_, i64>(0)).await;
    servers.servers[0].client().await.batch_execute("delete from analytics.sites").await.unwrap();
    until(204, async || post(1, "shop").await).await;
    let clicks = async || {
        let hour = format!("/analytics?timestamp={}&site=shop", at(HOUR).timestamp_millis());
        let request = daemon.http().get(format!("{}{hour}", daemon.url())).bearer_auth(&token);
        request.send().await.unwrap().text().await.unwrap()
    };
    until("unique_users,2\nclicks,4\nimpressions,0\n".to_owned(), clicks).await;
}

#[tokio::test]
async fn events_for_a_shard_that_is_away_go_into_its_spool() {
    let mut servers = ShardServers::start(2).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let daemon = daemon(&servers, &["--spool", spool.path().to_str().unwrap()]).await;
    let users = [0, 1].map(|shard| visitor_of(shard, 2));
    let post = async |shard: usize| daemon.post(at(HOUR), &users[shard], "click").await.as_u16();
    assert_eq!((post(0).await, post(1).await), (204, 204));
    servers.servers[1].stop().await.unwrap();
    assert_eq!((post(1).await, post(1).await, post(0).await), (202, 202, 204));
    let batch = send(&daemon, "id=a", clicks(0..20)).await;
    assert_eq!(batch.status(), StatusCode::ACCEPTED);
    assert!(spool.path().join("shard-1/spool.redb").exists());
    servers.servers[1].start_again().await.unwrap();
    until(Some(0.0), async || daemon.metric("analyticsd_spooled_requests{shard=\"1\"}").await).await;
    assert_eq!(daemon.counts(at(HOUR)).await, counts(22, 25, 0));
    assert_eq!(send(&daemon, "id=a", clicks(0..20)).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(at(HOUR)).await, counts(22, 25, 0));
}

#[tokio::test]
async fn what_a_batch_lacks_in_a_shard_is_completed_when_it_is_given_again() {
    let mut servers = ShardServers::start(2).await.unwrap();
    let daemon = daemon(&servers, &[]).await;
    assert_eq!(send(&daemon, "source=log&from=0&to=10", clicks(0..10)).await.status(), StatusCode::NO_CONTENT);
    servers.servers[0].stop().await.unwrap();
    for query in ["source=log&from=10&to=20", "id=a"] {
        until(503, async || send(&daemon, query, clicks(10..20)).await.status().as_u16()).await;
    }
    servers.servers[0].start_again().await.unwrap();
    until(204, async || send(&daemon, "id=a", clicks(10..20)).await.status().as_u16()).await;
    until(204, async || send(&daemon, "source=log&from=10&to=20", clicks(20..30)).await.status().as_u16()).await;
    assert_eq!(daemon.counts(at(HOUR)).await, counts(30, 30, 0));
}

#[tokio::test]
async fn a_source_goes_on_where_the_shard_stands_that_has_the_least_of_it() {
    let servers = ShardServers::start(2).await.unwrap();
    let daemon = daemon(&servers, &[]).await;
    assert_eq!(send(&daemon, "source=log&from=0&to=10", clicks(0..10)).await.status(), StatusCode::NO_CONTENT);
    // Shard 0 lets nothing be stored of it for now, so that shard 1 has more.
    let client = servers.servers[0].client().await;
    client.batch_execute("begin; lock analytics.sources in share mode").await.unwrap();
    let answer = send(&daemon, "source=log&from=10&to=20", clicks(10..20)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().await.unwrap().contains("Give it again under the same key or source"));
    client.batch_execute("rollback").await.unwrap();

    until(vec![(10, vec![20])], async || listed(&daemon).await).await;
    // The lane of batches may not know yet that it can store again.
    let cut_elsewhere = async || send(&daemon, "source=log&from=10&to=30", clicks(10..30)).await;
    until(409, async || cut_elsewhere().await.status().as_u16()).await;
    let problem: Problem = cut_elsewhere().await.json().await.unwrap();
    assert_eq!((problem.position, problem.parts_end_at), (Some(10), vec![20]));
    until(204, async || send(&daemon, "source=log&from=10&to=20", clicks(10..20)).await.status().as_u16()).await;
    assert_eq!(send(&daemon, "source=log&from=20&to=30", clicks(20..30)).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(listed(&daemon).await, [(30, vec![])]);
    assert_eq!(daemon.counts(at(HOUR)).await, counts(30, 30, 0));
}

#[tokio::test]
async fn a_batch_for_a_shard_that_answers_and_stores_nothing_is_stored_in_no_other() {
    let servers = ShardServers::start(2).await.unwrap();
    let daemon = daemon(&servers, &[]).await;
    // Each shard has proved that it can store before one cannot.
    until("ready\n".to_owned(), async || daemon.get("/readyz").await.text().await.unwrap()).await;
    let client = servers.servers[1].client().await;
    client.batch_execute("begin; lock analytics.events in access exclusive mode").await.unwrap();
    let in_part = send(&daemon, "id=a", clicks(0..10)).await.text().await.unwrap();
    assert!(in_part.contains("Stored in part"), "before that is known: {in_part}");
    let is_told = async || daemon.get("/readyz").await.text().await.unwrap().contains("Shard 1: ");
    until(true, is_told).await;
    let stored = async || servers.shards()[0].stored_events().await.unwrap().len();
    let stored_before = stored().await;
    for query in ["source=log&from=0&to=10", "id=b", "id=a"] {
        let answer = send(&daemon, query, clicks(0..10)).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let answer = answer.text().await.unwrap();
        assert!(
            answer.contains("The database of shard 1") && answer.contains("Give it again under the same key"),
            "{answer}"
        );
        assert!(!answer.contains("Nothing was stored"), "{answer}");
    }
    assert_eq!(stored().await, stored_before);
    client.batch_execute("rollback").await.unwrap();
    until(204, async || send(&daemon, "id=a", clicks(0..10)).await.status().as_u16()).await;
    assert_eq!(daemon.counts(at(HOUR)).await, counts(10, 10, 0));
}

/// Makes a token that may write and read.
async fn token(servers: &ShardServers) -> String {
    let issued = IssuedToken::secret([5; IssuedToken::RANDOM_BYTES]);
    let scopes = [Scope::Write, Scope::Read].into_iter().collect();
    let token = NewAccessToken::new(&issued, "shop".parse().unwrap(), scopes);
    assert!(AccessTokens(servers.shards().first()).create(&token).await.unwrap());
    issued.text
}

/// Posts a click of the visitor of one of two shards.
async fn post_with(daemon: &Daemon, shard: usize, token: &str) -> u16 {
    post_to(daemon, shard, token, "").await
}

/// The same for a site; none: the one without a name.
async fn post_to(daemon: &Daemon, shard: usize, token: &str, site: &str) -> u16 {
    let site = if site.is_empty() { String::new() } else { format!("&site={site}") };
    let (at, user) = (at(HOUR).timestamp_millis(), visitor_of(shard, 2));
    let query = format!("timestamp={at}&user={user}&event=click{site}");
    let request = daemon.http().post(format!("{}/analytics?{query}", daemon.url()));
    request.bearer_auth(token).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn while_the_first_shard_is_away_those_who_were_let_in_still_are() {
    let mut servers = ShardServers::start(2).await.unwrap();
    let token = token(&servers).await;
    let acknowledged = Cell::new(0);
    let spool = tempfile::tempdir().unwrap();
    let arguments = servers.arguments().into_iter().chain(["--spool".to_owned(), spool.path().display().to_string()]);
    let daemon = Daemon::start_with(arguments).await;
    let post = async |daemon: &Daemon, shard, token: &str| {
        let status = post_with(daemon, shard, token).await;
        acknowledged.set(acknowledged.get() + u64::from(status < 300));
        status
    };
    assert_eq!(
        (post(&daemon, 0, &token).await, post(&daemon, 1, &token).await, post(&daemon, 1, "wrong").await),
        (204, 204, 401)
    );
    servers.servers[0].stop().await.unwrap();
    until(202, async || post(&daemon, 0, &token).await).await;
    assert_eq!((post(&daemon, 1, &token).await, post(&daemon, 1, "wrong").await), (204, 401));

    // A daemon that starts meanwhile knows them from the spool's folder.
    assert!(daemon.terminate().await.success());
    let arguments = servers.arguments().into_iter().chain(["--spool".to_owned(), spool.path().display().to_string()]);
    let daemon = Daemon::start_with(arguments).await;
    assert_eq!(
        (post(&daemon, 0, &token).await, post(&daemon, 1, &token).await, post(&daemon, 1, "wrong").await),
        (202, 204, 401)
    );
    servers.servers[0].start_again().await.unwrap();
    until(204, async || post(&daemon, 0, &token).await).await;
    let hour = format!("{}/analytics?timestamp={}", daemon.url(), at(HOUR).timestamp_millis());
    let read = async || {
        let answer = daemon.http().get(&hour).bearer_auth(&token).send().await.unwrap();
        answer.text().await.unwrap().parse().unwrap_or_default()
    };
    until(counts(2, acknowledged.get(), 0), read).await;
}

#[tokio::test]
async fn a_daemon_that_knows_its_counter_starts_while_a_shard_is_away_and_serves_the_others() {
    let mut servers = ShardServers::start(2).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let spool = ["--spool", dir.path().to_str().unwrap()];
    assert!(daemon(&servers, &spool).await.terminate().await.success());
    servers.servers[1].stop().await.unwrap();
    let daemon = daemon(&servers, &spool).await;
    let users = [0, 1].map(|shard| visitor_of(shard, 2));
    let post = async |shard: usize| daemon.post(at(HOUR), &users[shard], "click").await.as_u16();
    assert_eq!((post(0).await, post(1).await), (204, 202));
    servers.servers[1].start_again().await.unwrap();
    until(204, async || post(1).await).await;
    until(Some(0.0), async || daemon.metric("analyticsd_spooled_requests{shard=\"1\"}").await).await;
    assert_eq!(daemon.counts(at(HOUR)).await.unique_users, 2);
    assert!(daemon.terminate().await.success());

    // A database of another counter is refused though the others cannot say so.
    let other = ShardServers::start(2).await.unwrap();
    servers.servers[0].stop().await.unwrap();
    let mut command = Daemon::command();
    command.args(["--shard", servers.servers[0].url(), "--shard", other.servers[1].url(), "--listen", "127.0.0.1:0"]);
    let ended = command.args(spool).args(ADMIN).output().await.unwrap();
    let log = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(2) && log.contains("is of the counter"), "{log}");
    assert_eq!(other.shards()[1].stored_events().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_schema_that_does_not_fit_is_refused_at_start_though_another_shard_is_away() {
    let mut servers = ShardServers::start(2).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let spool = ["--spool", dir.path().to_str().unwrap()];
    assert!(daemon(&servers, &spool).await.terminate().await.success());
    let client = servers.servers[0].client().await;
    let alter = "update analytics.schema_history set checksum = '1' where version = 1";
    client.batch_execute(alter).await.unwrap();
    servers.servers[1].stop().await.unwrap();
    let mut command = Daemon::command();
    command.args(servers.arguments()).args(["--listen", "127.0.0.1:0"]).args(spool).args(ADMIN);
    let ended = command.output().await.unwrap();
    let log = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && log.contains("shard 0 ") && log.contains("migrate verify"), "{log}");
}

#[tokio::test]
async fn a_part_that_a_shard_has_is_repeated_whatever_has_become_of_its_hour() {
    let servers = ShardServers::start(2).await.unwrap();
    let daemon = daemon(&servers, &[]).await;
    for query in ["source=log&from=0&to=10", "id=a"] {
        assert_eq!(send(&daemon, query, clicks(0..10)).await.status(), StatusCode::NO_CONTENT);
    }
    for server in &servers.servers {
        let client = server.client().await;
        client.batch_execute("update analytics.settings set due_before = '2016-01-01Z'").await.unwrap();
    }
    for query in ["source=log&from=0&to=10", "id=a"] {
        assert_eq!(send(&daemon, query, clicks(0..10)).await.status(), StatusCode::NO_CONTENT, "{query}");
    }
    assert_eq!(send(&daemon, "id=b", clicks(0..10)).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(daemon.counts(at(HOUR)).await, counts(10, 20, 0));
}

#[tokio::test]
async fn a_batch_that_is_refused_after_some_shards_stored_it_says_that_they_keep_it() {
    let servers = ShardServers::start(2).await.unwrap();
    let daemon = daemon(&servers, &[]).await;
    assert_eq!(send(&daemon, "id=a", clicks(0..10)).await.status(), StatusCode::NO_CONTENT);
    // As if another batch had taken the key in shard 0 meanwhile.
    let client = servers.servers[0].client().await;
    client.batch_execute("update analytics.event_keys set fingerprint = decode('00', 'hex')").await.unwrap();
    let refused = send(&daemon, "id=a", clicks(0..10)).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let problem: Problem = refused.json().await.unwrap();
    let (detail, kept) = (&problem.detail, "Other databases of the counter keep the part of it");
    assert!(detail.contains(kept) && !detail.contains("Nothing was stored"), "{detail}");
}

async fn listed(daemon: &Daemon) -> Vec<(u64, Vec<u64>)> {
    let answer = daemon.get("/analytics/sources?prefix=log").await;
    if answer.status() != StatusCode::OK {
        return Vec::new();
    }
    let list: SourceList = answer.json().await.unwrap();
    list.sources.into_iter().map(|source| (source.position, source.parts_end_at)).collect()
}
