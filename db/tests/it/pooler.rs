//! Whether connections are sessions is recognized by what happens on them.

use db::{
    Flavour, Store, StoreOptions, pooler,
    schema::{self, SchemaError},
};
use harness::{PoolMode, Pooler, TestDatabase, on_both_flavours};

on_both_flavours!(connections_to_the_database_itself_are_sessions);

async fn connections_to_the_database_itself_are_sessions(flavour: Flavour) {
    let database = TestDatabase::without_schema(flavour).await;
    assert_eq!(pooler::sessions(database.store()).await.unwrap(), Ok(()));
}

fn store(pooler: &Pooler) -> Store {
    Store::new(pooler.url(), StoreOptions::default()).unwrap()
}

#[tokio::test]
async fn a_pool_of_sessions_has_sessions() {
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let pooler = Pooler::start(database.url(), PoolMode::Session, 20, "").await;
    assert_eq!(pooler::sessions(&store(&pooler)).await.unwrap(), Ok(()));
    schema::migrate(&store(&pooler), None).await.unwrap();
}

#[tokio::test]
async fn a_pool_of_transactions_or_statements_is_recognized_whatever_its_size_and_the_order_in_which_it_gives_them_out()
{
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    for mode in [PoolMode::Transaction, PoolMode::Statement] {
        for sessions in [1, 2, 3, 8] {
            for order in ["server_round_robin = 0", "server_round_robin = 1"] {
                let pooler = Pooler::start(database.url(), mode, sessions, order).await;
                let store = store(&pooler);
                // A pool in which nothing happened yet has one session, another as many as were needed at a time.
                for busy in [false, true] {
                    if busy {
                        fill(&pooler, sessions).await;
                    }
                    let found = pooler::sessions(&store).await.unwrap();
                    let what = format!("{mode:?}, {sessions}, {order}, {busy}");
                    let told = found.expect_err(&what).to_string();
                    assert!(told.contains("pool_mode = session"), "{told}");
                }
            }
        }
    }
}

/// Has as many sessions opened at the same time as there may be.
async fn fill(pooler: &Pooler, sessions: u32) {
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..sessions {
        let url = pooler.url().to_owned();
        connections.spawn(async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.simple_query("select pg_sleep(0.1)").await.unwrap();
        });
    }
    connections.join_all().await;
}

#[tokio::test]
async fn migrating_through_a_pool_of_transactions_is_refused_and_changes_nothing() {
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let pooler = Pooler::start(database.url(), PoolMode::Transaction, 8, "").await;
    let refused = schema::migrate(&store(&pooler), None).await.unwrap_err();
    assert!(matches!(refused, SchemaError::SharedSessions(_)), "{refused}");
    let client = database.client().await;
    let is_empty = "select to_regnamespace('analytics') is null";
    assert!(client.query_one(is_empty, &[]).await.unwrap().get::<_, bool>(0));
}
