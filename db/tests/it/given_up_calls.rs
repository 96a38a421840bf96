//! Calls that nobody waits for any more, and that the server goes on with.

use std::time::Duration;

use chrono::Utc;
use db::{Fate, Ingested, Store, StoreError, StoreOptions, WriteError};
use harness::{End, PrivateServer};
use model::{EventKind, Timestamp};
use tokio::time::{sleep, timeout};

use crate::support::{event, writer};

/// Whoever waits for a standby that is gone waits for ever.
#[tokio::test]
async fn calls_that_are_given_up_keep_their_connections_which_are_bounded_until_the_server_is_done_with_them() {
    let mut server = PrivateServer::start().await.unwrap();
    let store = Store::new(server.url(), StoreOptions { max_connections: 2, ..StoreOptions::default() }).unwrap();
    let client = server.client().await;
    set(&server, "set synchronous_standby_names = 'nobody'").await;
    until_commits_wait(&server).await;

    let waiting = async || -> i64 {
        let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
        client.query_one(waits, &[]).await.unwrap().get(0)
    };
    let given_up = async |calls: i64| {
        let mut writer = writer(&store);
        let all_wait = async {
            while waiting().await < calls {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            answer = writer.prove() => panic!("nothing confirms it, and still it was answered: {answer:?}"),
            wait = timeout(Duration::from_mins(1), all_wait) => {
                wait.expect("each has a connection of its own, so none waits behind another");
            }
        }
    };
    for calls in 1..=4 {
        given_up(calls).await;
    }
    assert!(matches!(writer(&store).prove().await.unwrap_err(), StoreError::Stuck(_)));
    assert_eq!((waiting().await, store.pool_use().given_up), (4, 4));

    set(&server, "reset synchronous_standby_names").await;
    let proven = async {
        while writer(&store).prove().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), proven).await.expect("the places are free again");
    server.stop().await.unwrap();
}

/// What happens to a commit that waits for its standby.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interruption {
    Cancelled,
    Terminated,
    ServerRestarted,
}

/// The server answers a commit like any other whose wait for its standby somebody cancelled: only a warning says that the standby may not have it.
#[tokio::test]
async fn a_commit_whose_wait_for_its_standby_is_cancelled_is_stored_only_when_a_later_one_has_waited() {
    a_commit_is_stored_only_when_a_later_one_has_waited(Interruption::Cancelled).await;
}

#[tokio::test]
async fn a_commit_whose_session_is_terminated_as_it_waits_is_stored_only_when_a_later_one_has_waited() {
    a_commit_is_stored_only_when_a_later_one_has_waited(Interruption::Terminated).await;
}

#[tokio::test]
async fn a_commit_whose_server_is_restarted_as_it_waits_is_stored_only_when_a_later_one_has_waited() {
    a_commit_is_stored_only_when_a_later_one_has_waited(Interruption::ServerRestarted).await;
}

async fn a_commit_is_stored_only_when_a_later_one_has_waited(interruption: Interruption) {
    let mut server = PrivateServer::start().await.unwrap();
    let store = Store::new(server.url(), StoreOptions::default()).unwrap();
    let now = Timestamp::from_millis(Utc::now().timestamp_millis()).unwrap();
    let click = |user: &str| event(now, user, EventKind::Click);
    let mut lane = writer(&store);
    assert_eq!(lane.ingest(&[click("anna")]).await.unwrap(), Ingested::Stored);
    set(&server, "set synchronous_standby_names = 'nobody'").await;
    until_commits_wait(&server).await;

    let events = [click("ben")];
    let interrupt = async {
        match interruption {
            Interruption::Cancelled => on_the_waiting(&server, "pg_cancel_backend(pid)").await,
            Interruption::Terminated => on_the_waiting(&server, "pg_terminate_backend(pid)").await,
            Interruption::ServerRestarted => {
                on_the_waiting(&server, "pid").await;
                server.end(End::Immediate).await.unwrap();
                server.start_again().await.unwrap();
            }
        }
    };
    let (stored, ()) = tokio::join!(lane.ingest(&events), interrupt);
    let Err(WriteError::Undecided(undecided)) = stored else { panic!("the standby does not have it: {stored:?}") };
    let was_answered = matches!(undecided.cause(), StoreError::NotReplicated);
    assert_eq!(was_answered, interruption == Interruption::Cancelled, "{undecided}");

    let found_out = undecided.find_out(&store, Duration::from_mins(1));
    tokio::pin!(found_out);
    // The fence is a commit as well, and must wait itself.
    for _ in 0..2 {
        tokio::select! {
            fate = &mut found_out => panic!("the standby does not have it: {fate:?}"),
            () = on_the_waiting(&server, "pg_cancel_backend(pid)") => {}
        }
    }
    set(&server, "reset synchronous_standby_names").await;
    assert!(matches!(found_out.await, Fate::Stored { .. }));
    assert_eq!(store.counts(&[click("ben").site_hour()]).await.unwrap()[0].unique_users, 2);
    server.stop().await.unwrap();
}

async fn set(server: &PrivateServer, setting: &str) {
    let client = server.client().await;
    client.batch_execute(&format!("alter system {setting}")).await.unwrap();
    client.batch_execute("select pg_reload_conf()").await.unwrap();
}

/// A setting is read by each process in its own time, and commits wait from when the checkpointer has read this one.
pub(crate) async fn until_commits_wait(server: &PrivateServer) {
    let client = server.client().await;
    loop {
        tokio::select! {
            // It commits something.
            committed = client.batch_execute("select pg_logical_emit_message(true, 'a test', '')") => committed.unwrap(),
            () = on_the_waiting(server, "pg_cancel_backend(pid)") => return,
        }
    }
}

/// Evaluates an expression for each process that waits for a standby, once there is one.
async fn on_the_waiting(server: &PrivateServer, expression: &str) {
    let client = server.client().await;
    let evaluated = async {
        let statement = format!("select {expression} from pg_stat_activity where wait_event = 'SyncRep'");
        while client.query(&statement, &[]).await.unwrap().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_mins(1), evaluated).await.expect("a commit waits for the standby");
}
