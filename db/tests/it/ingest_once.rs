use db::{Claim, Flavour, Ingested, Store, Writer};
use harness::{TestDatabase, on_both_flavours};
use model::{IdempotencyKey, SiteEvent, Submission};
use tokio::task::JoinSet;

use crate::support::{assert_counts_equal_brute_force, click, counts, hour, impression, reopen, settle, writer};

on_both_flavours!(
    the_same_request_under_the_same_key_is_stored_once_also_after_its_hour_was_settled,
    another_request_under_the_same_key_is_named_and_stores_nothing,
    a_key_means_something_else_in_another_hour,
    one_key_from_many_writers_at_once_is_stored_once,
    keys_go_when_the_raw_events_of_their_hour_go,
);

const TEN: &str = "2015-05-17T10:00:00Z";
const ELEVEN: &str = "2015-05-17T11:00:00Z";

fn keyed(key: &str, events: Vec<SiteEvent>) -> Submission {
    Submission::new(events, Some(IdempotencyKey::new(key).unwrap()))
}

async fn send(writer: &mut Writer, submission: &Submission) -> Ingested {
    writer.ingest_once(&submission.events, &Claim::all_of(submission), &[]).await.unwrap()
}

async fn stored_keys(store: &TestDatabase) -> i64 {
    store.client().await.query_one("select count(*) from analytics.event_keys", &[]).await.unwrap().get(0)
}

async fn the_same_request_under_the_same_key_is_stored_once_also_after_its_hour_was_settled(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let request = keyed("k", vec![click(TEN, "anna"), impression(ELEVEN, "ben")]);
    assert_eq!(send(&mut writer(store), &request).await, Ingested::Stored);
    let repeated = Ingested::Claimed { repeated: vec![0, 1], conflicting: vec![] };
    assert_eq!(send(&mut writer(store), &request).await, repeated);
    settle(store, hour(TEN)).await;
    assert_eq!(send(&mut writer(store), &request).await, repeated, "a settled hour keeps its keys");
    reopen(store, hour(TEN)).await;
    assert_eq!(send(&mut writer(store), &request).await, repeated, "and so does one that was opened again");
    assert_eq!(store.counts(&[hour(TEN), hour(ELEVEN)]).await.unwrap(), [counts(1, 1, 0), counts(1, 0, 1)]);
}

async fn another_request_under_the_same_key_is_named_and_stores_nothing(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    assert_eq!(send(&mut writer, &keyed("k", vec![click(TEN, "anna")])).await, Ingested::Stored);
    for other in [click(TEN, "ben"), impression(TEN, "anna"), click("2015-05-17T10:00:00.001Z", "anna")] {
        let conflict = Ingested::Claimed { repeated: vec![], conflicting: vec![0] };
        assert_eq!(send(&mut writer, &keyed("k", vec![other])).await, conflict);
    }
    // The claim on the new hour comes first in the request, and last in the database's order.
    let wider = keyed("k", vec![click(ELEVEN, "carl"), click(TEN, "anna")]);
    assert_eq!(send(&mut writer, &wider).await, Ingested::Claimed { repeated: vec![], conflicting: vec![0] });
    assert_eq!(store.counts(&[hour(TEN), hour(ELEVEN)]).await.unwrap(), [counts(1, 1, 0), counts(0, 0, 0)]);
    assert_eq!(stored_keys(&database).await, 1);
}

async fn a_key_means_something_else_in_another_hour(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut writer = writer(database.store());
    assert_eq!(send(&mut writer, &keyed("k", vec![click(TEN, "anna")])).await, Ingested::Stored);
    assert_eq!(send(&mut writer, &keyed("k", vec![click(ELEVEN, "ben")])).await, Ingested::Stored);
}

/// Each writer sends the same few requests, so that the same keys meet in the database at the same moment.
async fn one_key_from_many_writers_at_once_is_stored_once(flavour: Flavour) {
    const WRITERS: usize = 4;
    const KEYS: usize = 40;
    let database = TestDatabase::new(flavour).await;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let store: Store = database.store().clone();
        writers.spawn(async move {
            let mut writer = writer(&store);
            let mut stored = 0;
            for key in 0..KEYS {
                let request = keyed(&key.to_string(), vec![click(TEN, &format!("user-{key}"))]);
                match send(&mut writer, &request).await {
                    Ingested::Stored => stored += 1,
                    Ingested::Claimed { repeated, conflicting } => {
                        assert_eq!((repeated, conflicting), (vec![0], vec![]));
                    }
                    other @ (Ingested::Blocked { .. } | Ingested::Moved(_)) => panic!("{other:?}"),
                }
            }
            stored
        });
    }
    assert_eq!(writers.join_all().await.iter().sum::<usize>(), KEYS);
    let all = KEYS as u64;
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(all, all, 0)]);
    assert_counts_equal_brute_force(database.store()).await;
}

async fn keys_go_when_the_raw_events_of_their_hour_go(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    assert_eq!(send(&mut writer(store), &keyed("k", vec![click(TEN, "anna")])).await, Ingested::Stored);
    settle(store, hour(TEN)).await;
    let keep = Some(std::time::Duration::from_hours(24));
    db::Retention { keep, columnstore_after: None }.write(store).await.unwrap();
    db::Retention::apply(store).await.unwrap();
    assert_eq!(stored_keys(&database).await, 0);
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(1, 1, 0)], "its counts stay");
}

/// The plan is made once, and the table may grow large before anybody analyzes it.
#[tokio::test]
async fn keys_are_looked_up_by_the_index_also_in_a_table_that_was_never_analyzed_or_while_it_was_empty() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    keys_are_looked_up_by_the_index(&database).await;
    database.client().await.batch_execute("vacuum analyze analytics.event_keys").await.unwrap();
    keys_are_looked_up_by_the_index(&database).await;
}

async fn keys_are_looked_up_by_the_index(database: &TestDatabase) {
    let mut client = database.client().await;
    client.batch_execute("set plan_cache_mode = force_generic_plan").await.unwrap();
    let writer: i64 = client.query_one("select analytics.register_writer()", &[]).await.unwrap().get(0);
    let ten = hour(TEN).hour.start().to_utc();
    let once = client
        .prepare(
            "select repeated from analytics.ingest_once($1, null, $2, array[$3::timestamptz], null, array['anna'], array[true], \
             array[$3], null, array[1], array[0], array[$3], array['anna'], null, \
             array[$3], null, array[$4], array['\\x00'::bytea], null, null, null, null, null, null)",
        )
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    for batch in 1..=10_i64 {
        transaction.query_one(&once, &[&writer, &batch, &ten, &batch.to_string()]).await.unwrap();
    }
    let scans = "select seq_scan, idx_scan from pg_stat_xact_user_tables where relname = 'event_keys'";
    let scans = transaction.query_one(scans, &[]).await.unwrap();
    assert_eq!(scans.get::<_, i64>(0), 0, "none reads the whole table");
    assert!(scans.get::<_, i64>(1) >= 10);
}
