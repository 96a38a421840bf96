//! The front of the WebAssembly database, which lets many clients share one backend.

use std::time::Duration;

use db::Flavour;
use harness::TestDatabase;
use tokio::{task::JoinSet, time::timeout};

/// A server in WebAssembly, or none where the tests run on a native TimescaleDB instead.
async fn webassembly() -> Option<TestDatabase> {
    if std::env::var_os("TEST_TIMESCALE_URL").is_some() {
        eprintln!("SKIPPED: TEST_TIMESCALE_URL names a native server, so nothing runs in WebAssembly");
        return None;
    }
    let database = TestDatabase::without_schema(Flavour::Timescale).await;
    database.client().await.batch_execute("create table numbers (n bigint)").await.unwrap();
    Some(database)
}

async fn count(database: &TestDatabase) -> i64 {
    database.client().await.query_one("select count(*) from numbers", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_transaction_keeps_other_clients_waiting_until_it_ends() {
    let Some(database) = webassembly().await else { return };
    let (mut one, other) = (database.client().await, database.client().await);
    let transaction = one.transaction().await.unwrap();
    transaction.execute("insert into numbers values (1)", &[]).await.unwrap();

    let waiting =
        tokio::spawn(
            async move { other.query_one("select count(*) from numbers", &[]).await.unwrap().get::<_, i64>(0) },
        );
    transaction.execute("insert into numbers values (2)", &[]).await.unwrap();
    assert!(!waiting.is_finished());
    transaction.commit().await.unwrap();
    assert_eq!(timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_client_that_goes_away_in_a_transaction_is_rolled_back_and_others_go_on() {
    let Some(database) = webassembly().await else { return };
    let mut leaving = database.client().await;
    let transaction = leaving.transaction().await.unwrap();
    transaction.execute("insert into numbers values (1)", &[]).await.unwrap();
    // Neither commit nor rollback is sent: the connection just ends.
    std::mem::forget(transaction);
    let mut others = JoinSet::new();
    for n in 0..3_i64 {
        let client = database.client().await;
        others.spawn(async move { client.execute("insert into numbers values ($1)", &[&n]).await.unwrap() });
    }
    drop(leaving);
    while let Some(other) = timeout(Duration::from_secs(30), others.join_next()).await.unwrap() {
        other.unwrap();
    }
    assert_eq!(count(&database).await, 3);
}

#[tokio::test]
async fn statements_prepared_by_one_client_are_not_those_of_another() {
    let Some(database) = webassembly().await else { return };
    let (one, other) = (database.client().await, database.client().await);
    // A plain protocol client chooses the names itself, so the same ones come from both.
    one.batch_execute("prepare unused as select 0").await.unwrap();
    let mut clients = JoinSet::new();
    for (client, shift) in [(one, 100_i64), (other, 200)] {
        clients.spawn(async move {
            let statement = client.prepare(&format!("select $1::bigint + {shift}")).await.unwrap();
            for n in 0..50_i64 {
                assert_eq!(client.query_one(&statement, &[&n]).await.unwrap().get::<_, i64>(0), n + shift);
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn an_error_of_one_client_is_not_seen_by_another() {
    let Some(database) = webassembly().await else { return };
    let (failing, working) = (database.client().await, database.client().await);
    let (failed, worked) = tokio::join!(
        failing.query_one("select 1 / 0::bigint + $1", &[&1_i64]),
        working.query_one("select 1 + $1::bigint", &[&1_i64]),
    );
    assert_eq!(failed.unwrap_err().code().map(|code| code.code().to_owned()).as_deref(), Some("22012"));
    assert_eq!(worked.unwrap().get::<_, i64>(0), 2);
    assert_eq!(
        failing.query_one("select 3::bigint", &[]).await.unwrap().get::<_, i64>(0),
        3,
        "the failing one goes on too"
    );
}
