use db::{Auditor, Flavour};
use harness::{TestDatabase, on_both_flavours};

use crate::support::{assert_counts_equal_brute_force, click, counts, hour, store_all, writer};

on_both_flavours!(
    a_visitor_who_comes_again_is_not_looked_for_again,
    a_database_that_went_back_to_an_earlier_state_is_counted_exactly,
    a_repair_after_raw_events_were_deleted_counts_the_same_visitor_anew,
);

const TEN: &str = "2015-05-17T10:00:00Z";

/// Seen by its one outward sign: a row that was taken away by hand does not come back.
async fn a_visitor_who_comes_again_is_not_looked_for_again(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut writer = writer(database.store());
    store_all(&mut writer, &[click(TEN, "anna")]).await;
    let client = database.client().await;
    client.batch_execute("delete from analytics.hour_users").await.unwrap();
    store_all(&mut writer, &[click(TEN, "anna"), click(TEN, "ben")]).await;
    let users = client.query("select user_name from analytics.hour_users", &[]).await.unwrap();
    assert_eq!(users.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["ben"]);
    assert_eq!(database.store().counts(&[hour(TEN)]).await.unwrap(), [counts(2, 3, 0)]);
}

/// As when a replica takes over that had not yet received the last commit.
async fn a_database_that_went_back_to_an_earlier_state_is_counted_exactly(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    let client = database.client().await;
    store_all(&mut writer, &[click(TEN, "anna")]).await;

    let tables = ["writers", "events", "hour_users", "hour_counts"];
    for table in tables {
        client.batch_execute(&format!("create table public.{table} as table analytics.{table}")).await.unwrap();
    }
    store_all(&mut writer, &[click(TEN, "ben")]).await;
    for table in tables {
        let back = format!("delete from analytics.{table}; insert into analytics.{table} table public.{table}");
        client.batch_execute(&back).await.unwrap();
    }
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(1, 1, 0)], "the last commit is lost");

    store_all(&mut writer, &[click(TEN, "ben"), click(TEN, "anna")]).await;
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(2, 3, 0)]);
    assert_counts_equal_brute_force(store).await;
}

async fn a_repair_after_raw_events_were_deleted_counts_the_same_visitor_anew(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    store_all(&mut writer, &[click(TEN, "anna"), click(TEN, "ben")]).await;
    database.client().await.batch_execute("delete from analytics.events where user_name = 'anna'").await.unwrap();
    Auditor::connect(store).await.unwrap().repair(hour(TEN), true).await.unwrap();
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(1, 1, 0)]);

    store_all(&mut writer, &[click(TEN, "anna")]).await;
    assert_eq!(store.counts(&[hour(TEN)]).await.unwrap(), [counts(2, 2, 0)]);
    assert_counts_equal_brute_force(store).await;
}
