use std::time::Duration;

use chrono::{Timelike, Utc};
use db::{Flavour, Ingested, Retention, Store};
use harness::{TestDatabase, on_both_flavours};
use model::{EventKind, Hour, Timestamp};

use crate::support::{
    assert_counts_equal_brute_force, click, counts, event, hour, impression, settle, store_all, writer,
};

on_both_flavours!(
    old_raw_events_go_also_once_the_planner_knows_how_many_tables_there_are,
    old_raw_events_go_and_their_counts_stay,
    raw_events_of_an_open_hour_are_never_deleted,
    what_retention_has_passed_takes_no_events_from_then_on_though_it_is_still_there,
    without_a_setting_nothing_is_deleted,
);

const DAY: Duration = Duration::from_hours(24);
const OLD: &str = "2015-05-17T10:00:00Z";

async fn raw_events(database: &TestDatabase) -> i64 {
    database.client().await.query_one("select count(*) from analytics.events", &[]).await.unwrap().get(0)
}

async fn old_raw_events_go_and_their_counts_stay(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    store_all(&mut writer, &[click(OLD, "anna"), impression(OLD, "ben")]).await;
    settle(store, hour(OLD)).await;
    let setting = Retention { keep: Some(30 * DAY), ..Retention::read(store).await.unwrap() };
    setting.write(store).await.unwrap();
    assert_eq!(Retention::read(store).await.unwrap(), setting);
    Retention::apply(store).await.unwrap();

    assert_eq!(raw_events(&database).await, 0);
    assert_eq!(store.counts(&[hour(OLD)]).await.unwrap(), [counts(2, 1, 1)]);
    let refused = Ingested::Blocked { settled: vec![], expired: vec![hour(OLD)], deleted: vec![] };
    assert_eq!(writer.ingest([&click(OLD, "carl")]).await.unwrap(), refused, "it could only be half-counted");
    assert_eq!(store.counts(&[hour(OLD)]).await.unwrap(), [counts(2, 1, 1)]);
}

/// With statistics it looks at the name of a table before it knows whether the table has events of a day.
async fn old_raw_events_go_also_once_the_planner_knows_how_many_tables_there_are(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    for day in 10..22 {
        let old = format!("2015-05-{day}T10:00:00Z");
        store_all(&mut writer(store), &[click(&old, "anna")]).await;
        settle(store, hour(&old)).await;
    }
    database.client().await.batch_execute("analyze").await.unwrap();
    keep_30_days(store).await;
    Retention::apply(store).await.unwrap();
    assert_eq!(raw_events(&database).await, 0);
}

async fn raw_events_of_an_open_hour_are_never_deleted(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    store_all(&mut writer, &[click("2015-05-16T10:00:00Z", "anna"), click(OLD, "anna")]).await;
    settle(store, hour("2015-05-16T10:00:00Z")).await;
    keep_30_days(store).await;
    let kept_from = Retention::apply(store).await.unwrap().kept_from;

    assert_eq!(kept_from.to_rfc3339(), "2015-05-17T00:00:00+00:00", "it stops at the day of the open hour");
    assert_eq!(raw_events(&database).await, 1);
    assert_counts_equal_brute_force(store).await;
    settle(store, hour(OLD)).await;
    assert!(Retention::apply(store).await.unwrap().kept_from > kept_from);
    assert_eq!(raw_events(&database).await, 0);
    assert_eq!(store.counts(&[hour(OLD)]).await.unwrap(), [counts(1, 1, 0)]);
}

/// Else whoever goes on writing into one of them would keep it open, and with it all that is to be deleted.
async fn what_retention_has_passed_takes_no_events_from_then_on_though_it_is_still_there(flavour: Flavour) {
    const NOBODY_YET: &str = "2015-06-01T10:00:00Z";
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    let settled = "2015-05-16T10:00:00Z";
    store_all(&mut writer, &[click(settled, "anna"), click(OLD, "anna")]).await;
    settle(store, hour(settled)).await;
    assert_eq!(Retention::accepts_from(store).await.unwrap(), None);
    keep_30_days(store).await;

    let accepts_from = Retention::accepts_from(store).await.unwrap().unwrap();
    let age = Utc::now() - accepts_from;
    assert!((30..=31).contains(&age.num_days()) && accepts_from.num_seconds_from_midnight() == 0, "{accepts_from}");
    for old in [settled, OLD, NOBODY_YET] {
        let refused = Ingested::Blocked { settled: vec![], expired: vec![hour(old)], deleted: vec![] };
        assert_eq!(writer.ingest([&click(old, "carl")]).await.unwrap(), refused, "{old}");
    }
    // As many as are written before they are counted.
    let many: Vec<_> = (0..1_500).map(|user| click(OLD, &format!("user{user}"))).collect();
    let refused = Ingested::Blocked { settled: vec![], expired: vec![hour(OLD)], deleted: vec![] };
    assert_eq!(writer.ingest(&many).await.unwrap(), refused);
    assert_eq!(raw_events(&database).await, 2);
    let last_hour = Hour::containing(Timestamp::from_millis(accepts_from.timestamp_millis() - 1).unwrap());
    let before = event(last_hour.start(), "ben", EventKind::Click);
    let expired = Ingested::Blocked { settled: vec![], expired: vec![before.site_hour()], deleted: vec![] };
    assert_eq!(writer.ingest([&before]).await.unwrap(), expired);
    let first = event(last_hour.next().unwrap().start(), "ben", EventKind::Click);
    store_all(&mut writer, &[first]).await;

    Retention { keep: None, ..Retention::read(store).await.unwrap() }.write(store).await.unwrap();
    store_all(&mut writer, &[click(OLD, "ben")]).await;
    assert_eq!(store.counts(&[hour(OLD)]).await.unwrap(), [counts(2, 2, 0)], "nothing was deleted yet");
}

async fn keep_30_days(store: &Store) {
    Retention { keep: Some(30 * DAY), ..Retention::read(store).await.unwrap() }.write(store).await.unwrap();
}

async fn without_a_setting_nothing_is_deleted(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    store_all(&mut writer(database.store()), &[click(OLD, "anna")]).await;
    settle(database.store(), hour(OLD)).await;
    assert_eq!(Retention::read(database.store()).await.unwrap().keep, None);
    Retention::apply(database.store()).await.unwrap();
    assert_eq!(raw_events(&database).await, 1);
}

#[tokio::test]
async fn the_columnstore_setting_is_read_back_and_can_be_turned_off() {
    let database = TestDatabase::new(Flavour::Timescale).await;
    let store = database.store();
    assert_eq!(Retention::read(store).await.unwrap().columnstore_after, Some(7 * DAY), "by default");
    for columnstore_after in [Some(3 * DAY), None] {
        let setting = Retention { keep: None, columnstore_after };
        setting.write(store).await.unwrap();
        assert_eq!(Retention::read(store).await.unwrap(), setting);
    }
}

#[tokio::test]
async fn the_plain_flavour_says_that_it_has_no_columnstore() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    assert_eq!(Retention::read(store).await.unwrap().columnstore_after, None);
    let refused = Retention { keep: None, columnstore_after: Some(DAY) }.write(store).await.unwrap_err();
    assert!(refused.to_string().contains("TimescaleDB"), "{refused}");
}
