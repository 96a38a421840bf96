use db::{Flavour, Retention, UniqueUsers};
use harness::{TestDatabase, on_both_flavours};
use model::{HourCounts, HourRow, SiteId};

use crate::support::{click, counts, hour, impression, settle, store_all, writer};

on_both_flavours!(
    a_range_has_every_hour_open_settled_and_empty_alike,
    users_of_a_range_are_counted_once_however_many_hours_they_were_seen_in,
);

async fn a_range_has_every_hour_open_settled_and_empty_alike(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    let events = [
        click("2015-05-17T09:59:59Z", "before"),
        click("2015-05-17T10:00:00Z", "anna"),
        impression("2015-05-17T12:30:00Z", "anna"),
        click("2015-05-17T12:30:00Z", "ben"),
        click("2015-05-17T13:00:00Z", "after"),
    ];
    store_all(&mut writer, &events).await;
    settle(store, hour("2015-05-17T10:00:00Z")).await;
    // A second writer has counters of its own in the same hour.
    store_all(&mut crate::support::writer(store), &[click("2015-05-17T12:31:00Z", "ben")]).await;

    let row = |at, counts, settled| HourRow { hour: hour(at).hour, counts, settled };
    let expected = [
        row("2015-05-17T10:00:00Z", counts(1, 1, 0), true),
        row("2015-05-17T11:00:00Z", HourCounts::default(), false),
        row("2015-05-17T12:00:00Z", counts(2, 2, 1), false),
    ];
    let range = hour("2015-05-17T10:00:00Z").hour..=hour("2015-05-17T12:00:00Z").hour;
    assert_eq!(store.hours(SiteId::NAMELESS, &range).await.unwrap(), expected);
}

async fn users_of_a_range_are_counted_once_however_many_hours_they_were_seen_in(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let events = [
        click("2015-05-17T10:00:00Z", "anna"),
        impression("2015-05-17T11:00:00Z", "anna"),
        click("2015-05-17T11:59:59.999Z", "ben"),
        click("2015-05-17T12:00:00Z", "after"),
    ];
    store_all(&mut writer(store), &events).await;
    settle(store, hour("2015-05-17T10:00:00Z")).await;
    let range = hour("2015-05-17T10:00:00Z").hour..=hour("2015-05-17T11:00:00Z").hour;
    assert_eq!(store.unique_users(SiteId::NAMELESS, &range).await.unwrap(), UniqueUsers::Counted(2));
}

/// A count that began while raw events were kept, and came to read them when they were deleted.
#[tokio::test]
async fn users_are_not_counted_of_what_retention_leaves_over_meanwhile() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    let events = [click("2015-05-17T10:00:00Z", "anna"), click("2015-05-18T10:00:00Z", "ben")];
    store_all(&mut writer(store), &events).await;
    settle(store, hour("2015-05-17T10:00:00Z")).await;
    let mut client = database.client().await;
    let deleting = client.transaction().await.unwrap();
    deleting.batch_execute("lock table analytics.events in access exclusive mode").await.unwrap();

    let range = hour("2015-05-17T10:00:00Z").hour..=hour("2015-05-18T10:00:00Z").hour;
    let counting = tokio::spawn({
        let store = store.clone();
        async move { store.unique_users(SiteId::NAMELESS, &range).await }
    });
    let waits = "select exists (select from pg_locks where not granted and relation = 'analytics.events'::regclass)";
    while !deleting.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
    deleting
        .batch_execute(
            "update analytics.settings set accepts_from = '2015-05-18T00:00:00Z'; drop table analytics.events_20150517",
        )
        .await
        .unwrap();
    deleting.commit().await.unwrap();
    assert!(matches!(counting.await.unwrap().unwrap(), UniqueUsers::NotKept { .. }));
}

#[tokio::test]
async fn users_of_hours_whose_raw_events_are_gone_are_not_counted() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    store_all(&mut writer(store), &[click("2015-05-17T10:00:00Z", "anna")]).await;
    settle(store, hour("2015-05-17T10:00:00Z")).await;
    let keep = Some(std::time::Duration::from_hours(24));
    Retention { keep, columnstore_after: None }.write(store).await.unwrap();
    Retention::apply(store).await.unwrap();

    let gone = hour("2015-05-17T09:00:00Z").hour..=hour("2015-05-17T10:00:00Z").hour;
    assert!(matches!(store.unique_users(SiteId::NAMELESS, &gone).await.unwrap(), UniqueUsers::NotKept { .. }));
    let empty = hour("2015-05-16T09:00:00Z").hour..=hour("2015-05-16T10:00:00Z").hour;
    assert_eq!(
        store.unique_users(SiteId::NAMELESS, &empty).await.unwrap(),
        UniqueUsers::Counted(0),
        "nobody was there"
    );
}
