use std::time::Duration;

use chrono::Utc;
use db::{Flavour, Ingested, SettleOutcome, Settler, Store, StoreOptions};
use harness::{TestDatabase, on_both_flavours};
use model::{EventKind, Hour, SiteId, Timestamp};

use crate::support::{
    assert_counts_equal_brute_force, click, counts, event, has_logins, hour, impression, outcome, reopen, settle,
    settler, store_all, writer,
};

on_both_flavours!(
    an_hour_is_open_then_settled_then_reopened_by_a_late_event_then_settled_again,
    an_hour_without_events_counts_zero,
    counts_come_in_the_order_asked_for_and_once_for_each_time_asked,
    the_view_shows_open_and_settled_hours_alike,
    tampered_counters_are_seen_and_never_papered_over,
    reopening_an_open_hour_changes_nothing,
    only_quiet_hours_before_the_previous_one_are_ripe,
    settling_an_hour_that_is_not_open_does_nothing,
);

const TEN: &str = "2015-05-17T10:00:00Z";

async fn an_hour_is_open_then_settled_then_reopened_by_a_late_event_then_settled_again(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let client = database.client().await;
    let mut writer = writer(store);
    let open_rows = "select (select count(*) from analytics.hour_counts) + (select count(*) from analytics.hour_users)";
    let ten = hour(TEN);

    store_all(&mut writer, &[click("2015-05-17T10:05:00Z", "anna"), impression("2015-05-17T10:59:59.999Z", "ben")])
        .await;
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(2, 1, 1)], "open");

    settle(store, ten).await;
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(2, 1, 1)], "settled");
    assert_eq!(
        client.query_one(open_rows, &[]).await.unwrap().get::<_, i64>(0),
        0,
        "a settled hour has no rows of its own"
    );

    // The aggregate says the same as what was settled, which answers now.
    let aggregate = "select unique_users from analytics.events_hourly where hour = $1";
    let aggregate = client.query_one(aggregate, &[&ten.hour.start().to_utc()]).await.unwrap();
    assert_eq!(aggregate.get::<_, i64>(0), 2);

    let late = click("2015-05-17T10:30:00Z", "carl");
    let blocked = Ingested::Blocked { settled: vec![ten], expired: vec![], deleted: vec![] };
    assert_eq!(writer.ingest([&late]).await.unwrap(), blocked, "a settled hour takes nothing");
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(2, 1, 1)], "what was blocked is not stored");

    store_all(&mut writer, &[late]).await;
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(3, 2, 1)], "visible as soon as it is stored");
    store_all(&mut writer, &[click("2015-05-17T10:31:00Z", "anna")]).await;
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(3, 3, 1)], "a user from before the reopening is not new");

    settle(store, ten).await;
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(3, 3, 1)], "settled again");
    assert_counts_equal_brute_force(store).await;
}

async fn an_hour_without_events_counts_zero(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(0, 0, 0)]);
}

async fn counts_come_in_the_order_asked_for_and_once_for_each_time_asked(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let (ten, eleven, twelve) = (hour(TEN), hour("2015-05-17T11:00:00Z"), hour("2015-05-17T12:00:00Z"));
    store_all(&mut writer(store), &[click("2015-05-17T10:00:00Z", "a"), impression("2015-05-17T11:00:00Z", "a")]).await;
    settle(store, ten).await;

    let asked = [twelve, eleven, ten, eleven];
    let expected = [counts(0, 0, 0), counts(1, 0, 1), counts(1, 1, 0), counts(1, 0, 1)];
    assert_eq!(store.counts(&asked).await.unwrap(), expected);
}

async fn the_view_shows_open_and_settled_hours_alike(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    store_all(&mut writer(store), &[click("2015-05-17T10:00:00Z", "a"), impression("2015-05-17T11:00:00Z", "a")]).await;
    settle(store, hour(TEN)).await;

    let view = "select hour::text, unique_users, clicks, impressions from analytics.hourly order by hour";
    let rows = database.client().await.query(view, &[]).await.unwrap();
    let seen: Vec<(String, i64, i64, i64)> = rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect();
    let expected = [("2015-05-17 10:00:00+00", 1, 1, 0), ("2015-05-17 11:00:00+00", 1, 0, 1)];
    assert_eq!(seen, expected.map(|(hour, users, clicks, impressions)| (hour.to_owned(), users, clicks, impressions)));
}

async fn tampered_counters_are_seen_and_never_papered_over(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let ten = hour(TEN);
    store_all(&mut writer(store), &[click(TEN, "anna")]).await;
    database.client().await.batch_execute("update analytics.hour_counts set clicks = clicks + 1").await.unwrap();

    let settler = settler(store).await;
    let differs = SettleOutcome::Differs { counters: counts(1, 2, 0), aggregate: counts(1, 1, 0), visitors: 1 };
    assert_eq!(outcome(&settler, ten).await, Some(differs));
    assert_eq!(outcome(&settler, ten).await, Some(differs), "it stays open, and stays seen");

    database.client().await.batch_execute("update analytics.hour_counts set clicks = clicks - 1").await.unwrap();
    assert_eq!(outcome(&settler, ten).await, Some(SettleOutcome::Settled));
}

async fn reopening_an_open_hour_changes_nothing(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    store_all(&mut writer, &[click(TEN, "anna"), impression(TEN, "ben")]).await;
    reopen(writer.store(), hour(TEN)).await;
    reopen(writer.store(), hour("2015-05-17T11:00:00Z")).await;
    assert_eq!(
        store.counts(&[hour(TEN), hour("2015-05-17T11:00:00Z")]).await.unwrap(),
        [counts(2, 1, 1), counts(0, 0, 0)]
    );
}

async fn only_quiet_hours_before_the_previous_one_are_ripe(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let current = Hour::containing(Timestamp::from_millis(Utc::now().timestamp_millis()).unwrap());
    let previous = current.previous().unwrap();
    let old = previous.previous().unwrap();
    let in_hour = |hour: Hour| event(hour.start(), "a", EventKind::Click);
    store_all(&mut writer(store), &[in_hour(current), in_hour(previous), in_hour(old), in_hour(hour(TEN).hour)]).await;

    let settler = settler(store).await;
    let ripe = |hour: Hour| (hour, vec![SiteId::NAMELESS]);
    assert_eq!(settler.ripe_hours(Duration::from_hours(1), &[], 10).await.unwrap(), [], "all were written to just now");
    let both = [ripe(hour(TEN).hour), ripe(old)];
    assert_eq!(settler.ripe_hours(Duration::ZERO, &[], 10).await.unwrap(), both, "the oldest first");
    assert_eq!(settler.ripe_hours(Duration::ZERO, &[hour(TEN)], 1).await.unwrap(), [ripe(old)]);
}

async fn settling_an_hour_that_is_not_open_does_nothing(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let settler = settler(store).await;
    assert_eq!(outcome(&settler, hour(TEN)).await, None);
    store_all(&mut writer(store), &[click(TEN, "anna")]).await;
    assert_eq!(outcome(&settler, hour(TEN)).await, Some(SettleOutcome::Settled));
    assert_eq!(outcome(&settler, hour(TEN)).await, None);
}

#[tokio::test]
async fn one_settler_is_elected_and_the_next_after_it_has_gone() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let first = settler(database.store()).await;
    assert!(Settler::elect(database.store()).await.unwrap().is_none());
    drop(first);
    settler(database.store()).await;
}

/// An administrator, or a provider's default, may have chosen another level than the functions count on.
#[tokio::test]
async fn a_database_whose_default_is_another_isolation_level_is_counted_exactly_too() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let client = database.client().await;
    let name: String = client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    client
        .batch_execute(&format!("alter database {name} set default_transaction_isolation = 'repeatable read'"))
        .await
        .unwrap();
    let store = db::Store::new(database.url(), db::StoreOptions::default()).unwrap();
    let mut writer = writer(&store);
    let settler = settler(&store).await;
    for clicks in 1..=3 {
        store_all(&mut writer, &[click(TEN, "anna")]).await;
        assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(1, clicks, 0)]);
        assert_eq!(outcome(&settler, hour(TEN)).await, Some(SettleOutcome::Settled));
    }
    let reopen = "select analytics.reopen('2015-05-17T10:00Z', '{0}', 1)";
    let refused = database.client().await.batch_execute(reopen).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code().to_owned()).as_deref(), Some("AN003"));
}

/// A new session goes by the setting of the database, which no session of a database in WebAssembly is.
#[tokio::test]
async fn an_hour_settles_also_where_the_schema_of_the_extension_is_not_searched() {
    if !has_logins(Flavour::Timescale) {
        eprintln!("SKIPPED: TEST_TIMESCALE_URL names no native server");
        return;
    }
    let database = TestDatabase::new(Flavour::Timescale).await;
    let client = database.client().await;
    let name: String = client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    client.batch_execute(&format!("alter database {name} set search_path = nothing")).await.unwrap();
    let store = Store::new(database.url(), StoreOptions::default()).unwrap();
    store_all(&mut writer(&store), &[click("2015-05-17T10:05:00Z", "anna")]).await;
    settle(&store, hour(TEN)).await;
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(1, 1, 0)]);
}
