use std::time::Duration;

use db::{Fate, Flavour, Ingested, WriteError};
use harness::{TestDatabase, on_both_flavours};

use crate::support::{click, counts, hour, store_all, writer};

on_both_flavours!(
    a_fenced_writer_stores_nothing_and_its_last_batch_is_told_again_and_again,
    a_writer_whose_row_was_tidied_up_registers_anew,
);

const TEN: &str = "2015-05-17T10:00:00Z";

async fn a_fenced_writer_stores_nothing_and_its_last_batch_is_told_again_and_again(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    let id: i64 = client.query_one("select analytics.register_writer()", &[]).await.unwrap().get(0);
    let ingest = "select settled, expired from analytics.ingest($1, null, $2, array[$3::timestamptz], null, array['anna'], array[true], \
                  array[$3], null, array[1], array[0], array[$3], array['anna'], null)";
    let ten = hour(TEN).hour.start().to_utc();
    client.query_one(ingest, &[&id, &1_i64, &ten]).await.unwrap();
    client.query_one(ingest, &[&id, &2_i64, &ten]).await.unwrap();

    for _ in 0..2 {
        let last: i64 = client.query_one("select analytics.fence_writer($1)", &[&id]).await.unwrap().get(0);
        assert_eq!(last, 2);
    }
    let refused = client.query_one(ingest, &[&id, &3_i64, &ten]).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code().to_owned()), Some("AN001".to_owned()));
    // One that is so large that its events are stored first.
    let ingest = "select settled, expired from analytics.ingest($1, null, $2, array_fill($3::timestamptz, array[1001]), null, \
                  array_fill('anna'::text, array[1001]), array_fill(true, array[1001]), \
                  array[$3], null, array[1001], array[0], array[$3], array['anna'], null)";
    let refused = client.query_one(ingest, &[&id, &3_i64, &ten]).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code().to_owned()), Some("AN001".to_owned()));
    let raw: i64 = client.query_one("select count(*) from analytics.events", &[]).await.unwrap().get(0);
    assert_eq!(raw, 2);
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(1, 2, 0)]);
}

async fn a_writer_whose_row_was_tidied_up_registers_anew(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut writer = writer(database.store());
    store_all(&mut writer, &[click(TEN, "anna")]).await;
    database.client().await.batch_execute("delete from analytics.writers").await.unwrap();
    store_all(&mut writer, &[click(TEN, "anna")]).await;
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(1, 2, 0)]);
}

/// A clock that goes forward by months makes every row look idle, and the row tells what became of a batch.
#[tokio::test]
async fn no_step_of_the_clock_alone_deletes_the_row_of_a_writer() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let mut writer = writer(database.store());
    store_all(&mut writer, &[click(TEN, "anna")]).await;
    let client = database.client().await;
    let rows =
        async || -> i64 { client.query_one("select count(*) from analytics.writers", &[]).await.unwrap().get(0) };
    client.batch_execute("update analytics.writers set written_at = now() - interval '500 days'").await.unwrap();
    for _ in 0..24 {
        client.batch_execute("select analytics.forget_idle_writers()").await.unwrap();
    }
    assert_eq!(rows().await, 1, "the first look found that it had stored something");
    client.batch_execute("select analytics.forget_idle_writers()").await.unwrap();
    assert_eq!(rows().await, 0, "it has stored nothing for a day of looks");
}

/// Ends every connection of the store, as a restart of the server would, while a batch waits for a lock inside its transaction.
#[tokio::test]
async fn a_batch_whose_connection_dies_before_the_commit_is_found_not_to_be_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    let mut writer = writer(store);
    store_all(&mut writer, &[click(TEN, "anna")]).await;

    let mut blocker = database.client().await;
    let blocking = blocker.transaction().await.unwrap();
    blocking.batch_execute("lock table analytics.hour_users in access exclusive mode").await.unwrap();
    let attempt = tokio::spawn(async move { writer.ingest([&click(TEN, "ben")]).await });

    let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                     where datname = current_database() and application_name = 'analyticsd' and wait_event_type = 'Lock'";
    let client = database.client().await;
    while client.query_one(terminate, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let Err(WriteError::Undecided(undecided)) = attempt.await.unwrap() else { panic!("the connection did not die") };
    assert!(matches!(undecided.find_out(store, Duration::from_secs(10)).await, Fate::NotStored { .. }));
    blocking.rollback().await.unwrap();
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(1, 1, 0)]);
}

#[tokio::test]
async fn a_retired_writer_leaves_what_it_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let mut writer = writer(database.store());
    assert_eq!(writer.ingest([&click(TEN, "anna")]).await.unwrap(), Ingested::Stored);
    writer.retire().await.unwrap();
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(1, 1, 0)]);
}
