//! While a session holds a snapshot (`pg_dump`, a transaction that somebody left open), no version of a row is removed that another session could
//! see since. What a read and a batch cost must not grow with them.

use db::{Auditor, Flavour, Store};
use harness::{TestDatabase, on_both_flavours};
use tokio_postgres::Client;

use crate::support::{assert_counts_equal_brute_force, click, counts, has_logins, hour, settle, store_all, writer};

on_both_flavours!(
    a_read_and_a_batch_touch_few_pages_after_thousands_of_batches,
    counts_are_exact_across_the_rows_that_a_writer_adds_to,
);

const TEN: &str = "2015-05-17T10:00:00Z";
const ELEVEN: &str = "2015-05-17T11:00:00Z";

/// Old versions of one row fill a page with about a hundred batches, so this is many times what the bounds below allow.
const BATCHES: i64 = 6_000;
/// Far more than are touched without such a snapshot, and the same however long it is held.
const MOST_PAGES: i64 = 45;

async fn a_read_and_a_batch_touch_few_pages_after_thousands_of_batches(flavour: Flavour) {
    if !has_logins(flavour) {
        eprintln!("SKIPPED: all sessions share one snapshot here");
        return;
    }
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    let id = register(&client).await;
    store_batches(&client, id, 0, 100).await;
    // As after some time in service: plans are made for tables of a few rows.
    client.batch_execute("vacuum analyze analytics.writers, analytics.hour_counts").await.unwrap();
    let before = pages_of_a_read(&client).await;
    assert!(before <= MOST_PAGES, "a read touches {before} pages before");

    let holder = hold_a_snapshot(&database).await;
    store_batches(&client, id, 100, BATCHES).await;
    let read = pages_of_a_read(&client).await;
    let ingest = pages_of_a_batch(&client, id, BATCHES).await;
    let proof = async |after: i64| {
        pages(&client, &format!("select analytics.rehearse({id}, {after}, {}, '{TEN}')", after + 1)).await
    };
    // The first of a session reads the catalog as well.
    proof(BATCHES + 2).await;
    let proof = proof(BATCHES + 3).await;
    assert!(read <= MOST_PAGES, "a read touches {read} pages");
    assert!(ingest <= MOST_PAGES, "a batch touches {ingest} pages");
    // It goes through a batch and moves the writer's row once more.
    assert!(proof <= 2 * MOST_PAGES, "a proof touches {proof} pages");
    let expected = counts(1, u64::try_from(BATCHES + 2).unwrap(), 0);
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [expected]);

    // Settled hours have old versions too.
    settle(database.store(), hour(TEN)).await;
    let settled = pages_of_a_read(&client).await;
    assert!(settled <= MOST_PAGES, "a read of the settled hour touches {settled} pages");
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [expected]);
    drop(holder);
}

async fn counts_are_exact_across_the_rows_that_a_writer_adds_to(flavour: Flavour) {
    if !has_logins(flavour) {
        eprintln!("SKIPPED: all sessions share one snapshot here");
        return;
    }
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let client = database.client().await;
    let id = register(&client).await;
    let mut other = writer(store);
    store_all(&mut other, &[click(TEN, "anna")]).await;

    let holder = hold_a_snapshot(&database).await;
    store_batches(&client, id, 0, 1_500).await;
    let has_later = "select count(*) from analytics.hour_counts where is_later";
    assert_eq!(client.query_one(has_later, &[]).await.unwrap().get::<_, i64>(0), 1, "this is what is tested");
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(1, 1_501, 0)]);
    // An hour that begins meanwhile, and another writer's part of both.
    batch(&client, id, 1_500, ELEVEN, "ben").await;
    store_all(&mut other, &[click(TEN, "cora"), click(ELEVEN, "cora")]).await;
    assert_eq!(store.counts(&[hour(TEN), hour(ELEVEN)]).await.unwrap(), [counts(2, 1_502, 0), counts(2, 2, 0)]);
    check(store).await;

    // Once the snapshot is released, versions are removed again, and the writer goes back to its first row. A transaction of
    // another test, in another database, can delay that.
    holder.batch_execute("rollback").await.unwrap();
    let crowded = "select count(*) from analytics.writers where is_crowded";
    let mut last = 1_501;
    while last == 1_501 || client.query_one(crowded, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        store_batches(&client, id, last, last + 600).await;
        last += 600;
    }
    store_batches(&client, id, last, last + 10).await;
    last += 10;
    let clicks = u64::try_from(last).unwrap();
    assert_eq!(store.counts(&[hour(TEN), hour(ELEVEN)]).await.unwrap(), [counts(2, clicks + 1, 0), counts(2, 2, 0)]);
    check(store).await;

    // The last batch can still be told, and the hours settled and opened again.
    let stands: i64 = client.query_one("select analytics.fence_writer($1)", &[&id]).await.unwrap().get(0);
    assert_eq!(stands, last);
    settle(store, hour(TEN)).await;
    settle(store, hour(ELEVEN)).await;
    assert_eq!(store.counts(&[hour(TEN), hour(ELEVEN)]).await.unwrap(), [counts(2, clicks + 1, 0), counts(2, 2, 0)]);
    store_all(&mut other, &[click(TEN, "dora")]).await;
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(3, clicks + 2, 0)]);
    check(store).await;
}

async fn check(store: &Store) {
    assert_counts_equal_brute_force(store).await;
    let auditor = Auditor::connect(store).await.unwrap();
    for audited in auditor.audit(&(hour(TEN).hour..=hour(ELEVEN).hour), None).await.unwrap() {
        assert_eq!(audited.differences(), [], "{audited:?}");
    }
}

async fn hold_a_snapshot(database: &TestDatabase) -> Client {
    let client = database.client().await;
    client.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    client
}

async fn register(client: &Client) -> i64 {
    client.batch_execute("set synchronous_commit = off").await.unwrap();
    client.query_one("select analytics.register_writer()", &[]).await.unwrap().get(0)
}

fn ingest(writer: &str, after: &str, batch: &str, hour: &str, user: &str) -> String {
    format!(
        "analytics.ingest({writer}, {after}, {batch}, array['{hour}'::timestamptz], null, array['{user}'], array[true], \
         array['{hour}'::timestamptz], null, array[1::bigint], array[0::bigint], array['{hour}'::timestamptz], array['{user}'], null)"
    )
}

/// Stores a click of the hour with each batch.
async fn store_batches(client: &Client, writer: i64, after: i64, last: i64) {
    let ingest = ingest(&writer.to_string(), "batch - 1", "batch", TEN, "anna");
    let all = format!("do $$ begin for batch in {after} + 1 .. {last} loop perform {ingest}; commit; end loop; end $$");
    client.batch_execute(&all).await.unwrap();
}

async fn batch(client: &Client, writer: i64, after: i64, hour: &str, user: &str) {
    let ingest = ingest(&writer.to_string(), &after.to_string(), &(after + 1).to_string(), hour, user);
    client.batch_execute(&format!("select {ingest}")).await.unwrap();
}

async fn pages_of_a_read(client: &Client) -> i64 {
    pages(client, &format!("select * from analytics.counts(array['{TEN}'::timestamptz], null)")).await
}

async fn pages_of_a_batch(client: &Client, writer: i64, after: i64) -> i64 {
    let ingest = |after: i64| ingest(&writer.to_string(), &after.to_string(), &(after + 1).to_string(), TEN, "anna");
    // The first of a session reads the catalog as well.
    client.batch_execute(&format!("select {}", ingest(after))).await.unwrap();
    pages(client, &format!("select {}", ingest(after + 1))).await
}

/// How many pages of the database a statement touches, in memory or on the disk.
async fn pages(client: &Client, statement: &str) -> i64 {
    let explain = format!("explain (analyze, buffers, timing off, summary off) {statement}");
    // The first line with buffers is that of the whole statement.
    let lines = client.query(&explain, &[]).await.unwrap();
    let lines: Vec<String> = lines.iter().map(|row| row.get(0)).collect();
    let buffers = lines.iter().find(|line| line.contains("Buffers: ")).unwrap_or_else(|| panic!("{lines:#?}"));
    ["hit=", "read="]
        .iter()
        .filter_map(|what| buffers.split(what).nth(1))
        .map(|number| number.split(' ').next().unwrap().parse::<i64>().unwrap())
        .sum()
}
