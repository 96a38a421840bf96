use std::{num::NonZero, time::Duration};

use db::{Answered, Batch, Claim, Depth, Fate, Flavour, Ingested, Pipeline, Store, StoreOptions, WriteError};
use harness::{SlowLink, TestDatabase, on_both_flavours};
use model::{IdempotencyKey, SiteEvent, SourceStep, Submission};
use tokio_postgres::error::SqlState;

use crate::support::{assert_counts_equal_brute_force, click, counts, hour, reopen, settle, store_all, writer};

on_both_flavours!(
    batches_that_are_sent_ahead_are_stored_in_their_order_and_count_each_visitor_once,
    what_is_behind_a_batch_that_is_not_stored_is_not_stored_either,
    a_key_that_the_batch_before_brings_is_found,
    whoever_sends_ahead_is_told_that_the_batch_before_is_not_stored,
);

const TEN: &str = "2015-05-17T10:00:00Z";
const NINE: &str = "2015-05-17T09:00:00Z";

#[derive(Debug, PartialEq, Eq)]
struct Events(Vec<SiteEvent>, Vec<Claim>);

impl Batch for Events {
    fn events(&self) -> impl Iterator<Item = &SiteEvent> + Send {
        self.0.iter()
    }

    fn claims(&self) -> &[Claim] {
        &self.1
    }

    fn steps(&self) -> &[SourceStep] {
        &[]
    }
}

fn clicks(at: &str, users: &[&str]) -> Events {
    Events(users.iter().map(|user| click(at, user)).collect(), Vec::new())
}

fn four(store: &Store) -> Pipeline<Events> {
    Pipeline::new(store.clone(), Depth::Fixed(NonZero::new(4).unwrap()))
}

async fn send(pipeline: &mut Pipeline<Events>, batches: impl IntoIterator<Item = Events>) {
    for batch in batches {
        assert!(pipeline.send(batch).await.is_ok());
    }
}

/// Takes all batches that are under way, each of which is stored.
async fn all_stored(pipeline: &mut Pipeline<Events>) -> Vec<Events> {
    let mut stored = Vec::new();
    while !pipeline.is_empty() {
        let Answered { batch, outcome, behind, .. } = pipeline.take().await;
        assert_eq!((outcome.unwrap(), behind), (Ingested::Stored, vec![]));
        stored.push(batch);
    }
    stored
}

async fn batches_that_are_sent_ahead_are_stored_in_their_order_and_count_each_visitor_once(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut pipeline = four(database.store());
    let batches = || [&["anna", "ben"][..], &["anna"], &["ben", "carl"], &["dora"]].map(|users| clicks(TEN, users));
    for _ in 0..3 {
        send(&mut pipeline, batches()).await;
        assert_eq!(all_stored(&mut pipeline).await, batches());
    }
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(4, 18, 0)]);
    let client = database.client().await;
    let last: i64 = client.query_one("select max(last_batch) from analytics.writers", &[]).await.unwrap().get(0);
    assert_eq!(last, 12);
    assert_counts_equal_brute_force(database.store()).await;
}

async fn what_is_behind_a_batch_that_is_not_stored_is_not_stored_either(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    store_all(&mut writer(store), &[click(NINE, "anna")]).await;
    settle(store, hour(NINE)).await;
    let mut pipeline = four(store);
    send(
        &mut pipeline,
        [clicks(TEN, &["anna"]), clicks(NINE, &["late"]), clicks(TEN, &["ben"]), clicks(TEN, &["carl"])],
    )
    .await;

    assert!(matches!(pipeline.take().await.outcome, Ok(Ingested::Stored)));
    let Answered { batch, outcome, behind, .. } = pipeline.take().await;
    assert!(matches!(outcome.unwrap(), Ingested::Blocked { settled, .. } if settled == [hour(NINE)]));
    assert_eq!(behind, [clicks(TEN, &["ben"]), clicks(TEN, &["carl"])]);
    assert!(pipeline.is_empty());
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(1, 1, 0)]);

    assert!(reopen(store, hour(NINE)).await);
    send(&mut pipeline, [batch].into_iter().chain(behind)).await;
    assert_eq!(all_stored(&mut pipeline).await.len(), 3);
    assert_eq!(store.counts(&[hour(NINE), hour(TEN)]).await.unwrap(), [counts(2, 2, 0), counts(3, 3, 0)]);
    assert!(pipeline.take_left().is_none(), "nothing was lost");
}

async fn a_key_that_the_batch_before_brings_is_found(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let under_a_key = || {
        let submission = Submission::new(vec![click(TEN, "anna")], Some(IdempotencyKey::new("once").unwrap()));
        let claims = Claim::all_of(&submission);
        Events(submission.events, claims)
    };
    let mut pipeline = four(database.store());
    send(&mut pipeline, [under_a_key(), under_a_key(), clicks(TEN, &["ben"])]).await;
    assert!(matches!(pipeline.take().await.outcome, Ok(Ingested::Stored)));
    let Answered { outcome, behind, .. } = pipeline.take().await;
    assert_eq!(outcome.unwrap(), Ingested::Claimed { repeated: vec![0], conflicting: vec![] });
    send(&mut pipeline, behind).await;
    assert_eq!(all_stored(&mut pipeline).await, [clicks(TEN, &["ben"])]);
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(2, 2, 0)]);
}

/// A daemon that sends nothing ahead, as of a version before, makes of the code what it made of it then.
async fn whoever_sends_ahead_is_told_that_the_batch_before_is_not_stored(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    let id: i64 = client.query_one("select analytics.register_writer()", &[]).await.unwrap().get(0);
    let ten = hour(TEN).hour.start().to_utc();
    let code_behind = async |batch: i64| {
        let ingest = "select settled from analytics.ingest($1, $2::bigint, $2::bigint + 1, array[$3::timestamptz], null, array['anna'], \
                      array[true], array[$3], null, array[1], array[0], array[$3], array['anna'], null)";
        let refused = client.query_one(ingest, &[&id, &batch, &ten]).await.unwrap_err();
        refused.code().map(SqlState::code).map(str::to_owned).unwrap()
    };
    // In WebAssembly all share one session.
    client.batch_execute("set analytics.sends_ahead = off").await.unwrap();
    assert_eq!(code_behind(7).await, "AN001");
    client.batch_execute("set analytics.sends_ahead = on").await.unwrap();
    assert_eq!(code_behind(7).await, "AN012");
    assert_eq!(code_behind(-1).await, "AN001", "the row stands behind a later one");
    client.query_one("select analytics.fence_writer($1)", &[&id]).await.unwrap();
    assert_eq!(code_behind(7).await, "AN001", "it is fenced");
    let raw: i64 = client.query_one("select count(*) from analytics.events", &[]).await.unwrap().get(0);
    assert_eq!(raw, 0);
}

/// As a restart of the server does, while the first of three waits for a lock inside its transaction.
#[tokio::test]
async fn one_number_tells_the_fate_of_all_batches_whose_connection_dies() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    let mut pipeline = four(store);
    send(&mut pipeline, [clicks(TEN, &["anna"])]).await;
    assert!(matches!(pipeline.take().await.outcome, Ok(Ingested::Stored)));

    let mut blocker = database.client().await;
    let blocking = blocker.transaction().await.unwrap();
    blocking.batch_execute("lock table analytics.hour_users in access exclusive mode").await.unwrap();
    send(&mut pipeline, [clicks(TEN, &["ben"]), clicks(TEN, &["carl"]), clicks(TEN, &["dora"])]).await;
    end_those_that_wait(&database).await;
    let Answered { batch, outcome, behind, .. } = pipeline.take().await;
    let Err(WriteError::Undecided(undecided)) = outcome else { panic!("the connection did not die") };
    assert_eq!((batch, behind), (clicks(TEN, &["ben"]), vec![clicks(TEN, &["carl"]), clicks(TEN, &["dora"])]));
    assert!(matches!(undecided.find_out(store, Duration::from_secs(10)).await, Fate::NotStored { loss: None, .. }));
    blocking.rollback().await.unwrap();

    send(&mut pipeline, [clicks(TEN, &["ben"])]).await;
    assert_eq!(all_stored(&mut pipeline).await.len(), 1, "it goes on under another number");
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(2, 2, 0)]);
}

async fn end_those_that_wait(database: &TestDatabase) {
    let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                     where datname = current_database() and application_name = 'analyticsd' and wait_event_type = 'Lock'";
    let client = database.client().await;
    while client.query_one(terminate, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The link carries three batches to the server, and none of its answers back.
#[tokio::test]
async fn of_several_batches_without_an_answer_the_stored_ones_are_told() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let link = SlowLink::start(database.url(), Duration::from_millis(200)).await;
    let store = over(&link, &database, StoreOptions::default());
    let mut pipeline = four(&store);
    send(&mut pipeline, [clicks(TEN, &["anna"])]).await;
    assert_eq!(all_stored(&mut pipeline).await.len(), 1);

    send(&mut pipeline, [clicks(TEN, &["ben"]), clicks(TEN, &["carl"])]).await;
    let client = database.client().await;
    let is_stored = "select count(*) from analytics.events where user_name = 'carl'";
    while client.query_one(is_stored, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The answers are on their way for as long as the link takes.
    link.cut();
    let Answered { outcome, behind, .. } = pipeline.take().await;
    let Err(WriteError::Undecided(undecided)) = outcome else { panic!("an answer came: {outcome:?}") };
    assert_eq!(behind.len(), 1);
    let fate = undecided.find_out(database.store(), Duration::from_secs(10)).await;
    assert!(matches!(fate, Fate::Stored { behind: 1, .. }), "{fate:?}");
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(3, 3, 0)]);
}

#[tokio::test]
async fn batches_that_take_too_long_are_given_up_together_and_their_connection_with_them() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let options = StoreOptions { statement_timeout: Duration::from_secs(1), ..StoreOptions::default() };
    let store = Store::new(database.url(), options).unwrap();
    let mut pipeline = four(&store);
    let mut blocker = database.client().await;
    let blocking = blocker.transaction().await.unwrap();
    blocking.batch_execute("lock table analytics.hour_users in access exclusive mode").await.unwrap();
    send(&mut pipeline, [clicks(TEN, &["ben"]), clicks(TEN, &["carl"])]).await;
    let Answered { outcome, behind, .. } = pipeline.take().await;
    let Err(WriteError::Undecided(undecided)) = outcome else { panic!("it waited for the lock: {outcome:?}") };
    assert_eq!(behind.len(), 1);
    blocking.rollback().await.unwrap();
    assert!(matches!(undecided.find_out(&store, Duration::from_secs(10)).await, Fate::NotStored { .. }));
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(0, 0, 0)]);
}

#[tokio::test]
async fn a_long_way_to_the_database_makes_batches_go_ahead_once_as_much_waits_as_before() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let link = SlowLink::start(database.url(), Duration::from_millis(50)).await;
    let mut pipeline = Pipeline::new(over(&link, &database, StoreOptions::default()), Depth::Measured);
    let size = |batch: &Events| batch.0.len();
    assert_eq!(pipeline.wanted(size), None, "none is under way");
    send(&mut pipeline, [clicks(TEN, &["anna", "ben"])]).await;
    assert_eq!(pipeline.wanted(size), None, "nothing is known yet");
    assert_eq!(all_stored(&mut pipeline).await.len(), 1);
    // While the machine is busy the database seems to work for long, so that fewer go ahead.
    let mut most = 0;
    while most < 4 {
        most = 1;
        send(&mut pipeline, [clicks(TEN, &["anna", "ben", "carl"])]).await;
        while let Some(wanted) = pipeline.wanted(size) {
            assert_eq!(wanted, 3, "{most} are under way");
            most += 1;
            send(&mut pipeline, [clicks(TEN, &["anna", "ben", "carl"])]).await;
        }
        assert_eq!(all_stored(&mut pipeline).await.len(), most);
    }
    assert_eq!(most, 4, "no more than that");
}

fn over(link: &SlowLink, database: &TestDatabase, options: StoreOptions) -> Store {
    let config: tokio_postgres::Config = database.url().parse().unwrap();
    let (user, name) = (config.get_user().unwrap_or_default(), config.get_dbname().unwrap_or_default());
    Store::new(&format!("postgres://{user}@127.0.0.1:{}/{name}?sslmode=disable", link.port()), options).unwrap()
}
