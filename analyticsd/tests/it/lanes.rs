use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use db::{Flavour, Sites};
use harness::{Daemon, TestDatabase, settle};
use model::SiteName;
use reqwest::{Method, StatusCode};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    support::{COUNTS, INGEST, REOPEN, at, counts, until_waiting},
    tokens::send,
};

#[tokio::test]
async fn many_readiness_requests_cause_one_query_and_delay_no_events_or_counts() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
    // The result is valid for half a second.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut locker = database.client().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("lock table analytics.schema_history in access exclusive mode").await.unwrap();

    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let answer = daemon.http().get(format!("{}/readyz", daemon.url())).send();
        asking.spawn(async move { answer.await.unwrap().status() });
    }
    let client = database.client().await;
    let sessions = async |condition: &str| {
        let count = format!(
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = \
             'analyticsd readiness' {condition}"
        );
        client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0)
    };
    while sessions("and wait_event_type = 'Lock'").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for user in ["anna", "ben"] {
        assert_eq!(daemon.post(Utc::now(), user, "click").await, StatusCode::NO_CONTENT);
    }
    assert_eq!(daemon.counts(Utc::now()).await.clicks, 2);
    assert_eq!(sessions("").await, 1);
    assert_eq!(asking.len(), 100, "all of them wait for the one check, or get the last result");
    lock.rollback().await.unwrap();
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn while_an_hour_is_rebuilt_its_events_are_refused_in_time_and_all_others_are_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    Sites(database.store()).create(&SiteName::new("shop").unwrap(), None).await.unwrap();
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "1h"]).await;
    let (settled, open): (DateTime<Utc>, _) = (at("2015-05-17T10:00:00Z"), at("2015-05-17T11:00:00Z"));
    let to_the_shop = async |user: &str| {
        let target = format!("/analytics?timestamp={}&user={user}&event=click&site=shop", settled.timestamp_millis());
        let answer = send(&daemon, Method::POST, &target, &[]).await;
        (answer.status(), answer.text().await.unwrap())
    };
    assert_eq!(daemon.post(settled, "anna", "click").await, StatusCode::NO_CONTENT);
    assert_eq!(to_the_shop("anna").await.0, StatusCode::NO_CONTENT);
    let client = database.client().await;
    settle(&client, "2015-05-17T10:00:00Z", &[0, 1]).await;

    // A rebuild needs an exclusive lock of the hour; an ingest shares it.
    let lock = "analytics.lock_class('hours'), analytics.hour_number('2015-05-17T10:00:00Z')";
    client.batch_execute(&format!("select pg_advisory_lock_shared({lock})")).await.unwrap();
    let late = daemon.post(settled, "ben", "click");
    let meanwhile = async {
        until_waiting(&client, REOPEN, 1).await;
        let others = async {
            for n in 0..20 {
                assert_eq!(daemon.post(open, &format!("user-{n}"), "click").await, StatusCode::NO_CONTENT);
            }
        };
        // Behind the rebuild of the hour, an event of another site would hold up all that are stored with it.
        tokio::join!(to_the_shop("ben"), others).0
    };
    let (late, (of_the_shop, why)) =
        timeout(Duration::from_secs(30), async { tokio::join!(late, meanwhile) }).await.unwrap();
    assert_eq!([late, of_the_shop], [StatusCode::SERVICE_UNAVAILABLE; 2]);
    assert!(
        why.contains("Too many requests wait") && !why.contains("rebuilt"),
        "it is none of the shop's hours: {why}"
    );
    assert_eq!(daemon.counts(open).await, counts(20, 20, 0));
    assert_eq!(daemon.counts(settled).await, counts(1, 1, 0), "the refused event is not stored");

    client.batch_execute(&format!("select pg_advisory_unlock_shared({lock})")).await.unwrap();
    assert_eq!(daemon.post(settled, "ben", "click").await, StatusCode::NO_CONTENT, "the rebuild went on meanwhile");
    assert_eq!(to_the_shop("ben").await.0, StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(settled).await, counts(2, 2, 0));
}

/// The test does not wait for the server's ten seconds: cancelling the statement gives the same error.
#[tokio::test]
async fn a_commit_that_waited_too_long_for_a_lock_is_not_an_outage_and_loses_nothing() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon =
        Daemon::start_with(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0", "--settle-after", "1h"])
            .await;
    let past = at("2015-05-17T10:00:00Z");
    assert_eq!(daemon.post(past, "anna", "click").await, StatusCode::NO_CONTENT);
    let client = database.client().await;
    let lock = "analytics.lock_class('hours'), analytics.hour_number('2015-05-17T10:00:00Z')";
    client.batch_execute(&format!("select pg_advisory_lock({lock})")).await.unwrap();
    let meanwhile = async {
        until_waiting(&client, INGEST, 1).await;
        let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and \
                      application_name = 'analyticsd' and wait_event_type = 'Lock'";
        client.batch_execute(cancel).await.unwrap();
        let commits = async |outcome: &str| {
            daemon.metric(&format!("analyticsd_commits_total{{lane=\"past\",outcome=\"{outcome}\"}}")).await
        };
        while commits("timed_out").await != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!([commits("away").await, commits("undecided").await], [Some(0.0); 2]);
        assert_eq!(daemon.counts(past).await, counts(1, 1, 0), "reading takes no lock");
        assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
        client.batch_execute(&format!("select pg_advisory_unlock({lock})")).await.unwrap();
    };
    let (status, ()) =
        timeout(Duration::from_secs(30), async { tokio::join!(daemon.post(past, "ben", "click"), meanwhile) })
            .await
            .unwrap();
    assert_eq!(status, StatusCode::NO_CONTENT, "it is tried again");
    assert_eq!(daemon.counts(past).await, counts(2, 2, 0));
}

#[tokio::test]
async fn an_event_that_the_database_refuses_does_not_fail_the_others_of_its_commit() {
    only_the_refused_event_fails("1").await;
}

#[tokio::test]
async fn nor_does_it_fail_the_commits_that_were_sent_behind_its_own() {
    only_the_refused_event_fails("4").await;
}

async fn only_the_refused_event_fails(commit_depth: &str) {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let arguments = ["--database-url", database.url(), "--commit-depth", commit_depth, "--admin-listen", "127.0.0.1:0"];
    let daemon = Arc::new(Daemon::start_with(arguments).await);
    let now = Utc::now();
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
    let poison = "alter table analytics.hour_users add check (user_name <> 'poison')";
    let mut client = database.client().await;
    client.batch_execute(poison).await.unwrap();

    // While the first commit waits, the others gather into one.
    let watcher = database.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("lock table analytics.hour_users in access exclusive mode").await.unwrap();
    let mut requests = JoinSet::new();
    let post = |user: &'static str| {
        let daemon = Arc::clone(&daemon);
        async move { (user, daemon.post(now, user, "click").await) }
    };
    requests.spawn(post("first"));
    until_waiting(&watcher, INGEST, 1).await;
    for user in ["ben", "poison", "carl"] {
        requests.spawn(post(user));
    }
    // By then they have most likely arrived too. One that has not is stored by itself, which shows less but is correct
    // as well.
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
    let sent_ahead = async || daemon.metric("analyticsd_commits_sent_ahead_total{lane=\"present\"}").await;
    if commit_depth == "1" {
        assert_eq!(sent_ahead().await, Some(0.0));
    } else {
        while sent_ahead().await.is_none_or(|commits| commits < 1.0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    lock.rollback().await.unwrap();

    for (user, status) in requests.join_all().await {
        let expected = if user == "poison" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT };
        assert_eq!(status, expected, "{user}");
    }
    assert_eq!(daemon.counts(now).await, counts(4, 4, 0));
}

#[tokio::test]
async fn two_reads_of_a_lane_are_under_way_and_the_queries_behind_them_are_seen_to_wait() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let arguments = ["--database-url", database.url(), "--admin-listen", "127.0.0.1:0"];
    let daemon = Arc::new(Daemon::start_with(arguments).await);
    let now = Utc::now();
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
    let mut client = database.client().await;
    let watcher = database.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("lock table analytics.hour_counts in access exclusive mode").await.unwrap();

    let query = || {
        let daemon = Arc::clone(&daemon);
        async move { daemon.get(&format!("/analytics?timestamp={}", now.timestamp_millis())).await.status() }
    };
    let ask = async || {
        let mut queries = JoinSet::new();
        // The second begins because as many wait as the first answers.
        for under_way in 1..=2 {
            queries.spawn(query());
            until_waiting(&watcher, COUNTS, under_way).await;
        }
        for _ in 0..3 {
            queries.spawn(query());
        }
        while daemon.metric("analyticsd_queue_requests{queue=\"reads_present\"}").await != Some(3.0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        queries
    };
    // A read is given up after 2.5 seconds. A machine that is too busy to ask within them is asked again.
    let queries = loop {
        if let Ok(queries) = timeout(Duration::from_secs(2), ask()).await {
            break queries;
        }
        until_waiting(&watcher, COUNTS, 0).await;
    };
    lock.rollback().await.unwrap();
    // On a busy machine the first may have been given up meanwhile.
    assert!(queries.join_all().await.contains(&StatusCode::OK));
    assert_eq!(daemon.counts(now).await, counts(1, 1, 0));
}
