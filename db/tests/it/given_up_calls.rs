//! Calls that nobody waits for any more, and that the server goes on with.

use std::time::Duration;

use db::{Store, StoreError, StoreOptions};
use harness::PrivateServer;
use tokio::time::{sleep, timeout};

use crate::support::writer;

/// Whoever waits for a standby that is gone waits for ever.
#[tokio::test]
async fn calls_that_are_given_up_keep_their_connections_which_are_bounded_until_the_server_is_done_with_them() {
    let mut server = PrivateServer::start().await.unwrap();
    let store = Store::new(server.url(), StoreOptions { max_connections: 2, ..StoreOptions::default() }).unwrap();
    let client = server.client().await;
    let set = async |setting: &str| {
        client.batch_execute("set synchronous_commit = local").await.unwrap();
        client.batch_execute(&format!("alter system {setting}")).await.unwrap();
        client.batch_execute("select pg_reload_conf()").await.unwrap();
    };
    set("set synchronous_standby_names = 'nobody'").await;
    while client.query_one("show synchronous_standby_names", &[]).await.unwrap().get::<_, &str>(0).is_empty() {
        sleep(Duration::from_millis(10)).await;
    }

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

    set("reset synchronous_standby_names").await;
    let proven = async {
        while writer(&store).prove().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), proven).await.expect("the places are free again");
    server.stop().await.unwrap();
}
