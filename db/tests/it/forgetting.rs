use db::{Auditor, Flavour, Forgotten, Store, Traces, UniqueUsers};
use harness::{TestDatabase, on_both_flavours};
use model::{Hour, SiteId, Timestamp, UserName};

use crate::support::{assert_counts_equal_brute_force, click, counts, hour, impression, settle, store_all, writer};

on_both_flavours!(
    whoever_is_forgotten_is_in_no_raw_event_and_no_hour_and_everybody_else_is,
    somebody_who_was_forgotten_and_comes_again_is_counted_as_new,
    the_name_of_whoever_is_forgotten_is_nowhere_and_what_counts_them_stays_exact,
);

fn anna() -> UserName {
    UserName::new("anna").unwrap()
}

async fn traces(store: &Store) -> Vec<Traces> {
    let auditor = Auditor::connect(store).await.unwrap();
    let all = Hour::containing(Timestamp::MIN)..=Hour::containing(Timestamp::MAX);
    let mut traces = Vec::new();
    for part in auditor.parts(&all).await.unwrap() {
        traces.extend(auditor.traces(&anna(), SiteId::NAMELESS, &part).await.unwrap());
    }
    traces
}

async fn whoever_is_forgotten_is_in_no_raw_event_and_no_hour_and_everybody_else_is(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let (ten, eleven, next_day) =
        (hour("2015-05-17T10:00:00Z"), hour("2015-05-17T11:00:00Z"), hour("2015-05-18T00:00:00Z"));
    let events = [
        click("2015-05-17T10:00:00Z", "anna"),
        impression("2015-05-17T10:59:59.999Z", "anna"),
        click("2015-05-17T10:30:00Z", "Anna"),
        click("2015-05-17T11:00:00Z", "ben"),
        impression("2015-05-18T00:00:00Z", "anna"),
    ];
    store_all(&mut writer(store), &events).await;
    settle(store, ten).await;
    let expected = [Traces { hour: ten.hour, events: 2 }, Traces { hour: next_day.hour, events: 1 }];
    assert_eq!(traces(store).await, expected);

    let auditor = Auditor::connect(store).await.unwrap();
    for (hour, deleted) in [(ten, 2), (next_day, 1), (eleven, 0), (ten, 0)] {
        assert_eq!(auditor.forget(&anna(), hour).await.unwrap(), Forgotten { deleted, rebuilt: true });
    }
    assert_eq!(traces(store).await, []);
    let expected = [counts(1, 1, 0), counts(1, 1, 0), counts(0, 0, 0)];
    assert_eq!(store.counts(&[ten, eleven, next_day]).await.unwrap(), expected);
    assert_counts_equal_brute_force(store).await;
    settle(store, ten).await;
    assert_eq!(store.counts(&[ten, eleven, next_day]).await.unwrap(), expected);
    let names = "select count(*) from analytics.hour_users where user_name = 'anna'";
    assert_eq!(database.client().await.query_one(names, &[]).await.unwrap().get::<_, i64>(0), 0);
}

async fn somebody_who_was_forgotten_and_comes_again_is_counted_as_new(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let ten = hour("2015-05-17T10:00:00Z");
    let mut writer = writer(store);
    let event = [click("2015-05-17T10:00:00Z", "anna")];
    store_all(&mut writer, &event).await;
    Auditor::connect(store).await.unwrap().forget(&anna(), ten).await.unwrap();
    // The writer knew that she is among the hour's visitors.
    store_all(&mut writer, &event).await;
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(1, 1, 0)]);
    assert_counts_equal_brute_force(store).await;
}

#[tokio::test]
async fn where_other_raw_events_are_gone_the_counts_stay_as_they_are() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    let ten = hour("2015-05-17T10:00:00Z");
    store_all(&mut writer(store), &[click("2015-05-17T10:00:00Z", "anna"), click("2015-05-17T10:00:00Z", "ben")]).await;
    settle(store, ten).await;
    let moved = "update analytics.settings set accepts_from = '2015-05-17T11:00:00Z'";
    database.client().await.batch_execute(moved).await.unwrap();

    let auditor = Auditor::connect(store).await.unwrap();
    assert_eq!(auditor.kept_from().await.unwrap(), Some(hour("2015-05-17T11:00:00Z").hour));
    assert_eq!(auditor.forget(&anna(), ten).await.unwrap(), Forgotten { deleted: 1, rebuilt: false });
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(2, 2, 0)]);
    assert_eq!(traces(store).await, []);
}

/// One day of which the raw events are gone, and one of which they are kept.
async fn the_name_of_whoever_is_forgotten_is_nowhere_and_what_counts_them_stays_exact(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let (gone, kept) = (hour("2015-05-17T10:00:00Z"), hour("2015-05-19T10:00:00Z"));
    let mut writer = writer(store);
    for hour in [gone, kept] {
        let at = hour.to_string();
        store_all(&mut writer, &[click(&at, "anna"), click(&at, "ben")]).await;
        settle(store, hour).await;
    }
    let client = database.client().await;
    client.batch_execute("update analytics.settings set accepts_from = '2015-05-19T00:00:00Z'").await.unwrap();
    client.batch_execute("delete from analytics.events where at < '2015-05-19T00:00:00Z'").await.unwrap();
    let unique_users = async || {
        let range = gone.hour..=kept.hour;
        store.range_counts(SiteId::NAMELESS, &range).await.unwrap().unique_users
    };
    assert_eq!(unique_users().await, UniqueUsers::Exactly(2));

    let auditor = Auditor::connect(store).await.unwrap();
    assert_eq!(auditor.forget(&anna(), kept).await.unwrap(), Forgotten { deleted: 1, rebuilt: true });
    assert!(auditor.has_number(&anna(), SiteId::NAMELESS).await.unwrap());
    auditor.forget_name(&anna(), SiteId::NAMELESS).await.unwrap();
    assert!(!auditor.has_number(&anna(), SiteId::NAMELESS).await.unwrap());
    let names = "select array_agg(name order by number) from analytics.visitors";
    let dictionary = client.query_one(names, &[]).await.unwrap();
    assert_eq!(dictionary.get::<_, Vec<Option<String>>>(0), [None, Some("ben".to_owned())]);
    assert_eq!(store.counts(&[gone, kept]).await.unwrap(), [counts(2, 2, 0), counts(1, 1, 0)]);
    assert_eq!(unique_users().await, UniqueUsers::Exactly(2), "anna was there, and nobody can tell that it was she");

    store_all(&mut writer, &[click(&kept.to_string(), "anna")]).await;
    assert_eq!(unique_users().await, UniqueUsers::Exactly(3), "who comes again is somebody new");
    settle(store, kept).await;
    assert_eq!(unique_users().await, UniqueUsers::Exactly(3));
}

/// The settler reads the visitors of an hour before one of them is forgotten, and gives them numbers afterwards.
#[tokio::test]
async fn a_name_that_gets_its_number_while_it_is_forgotten_is_forgotten() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let store = database.store();
    let ten = hour("2015-05-17T10:00:00Z");
    store_all(&mut writer(store), &[click("2015-05-17T10:00:00Z", "anna")]).await;
    let settler = database.client().await;
    settler
        .batch_execute("begin; select * from analytics.number_visitors('2015-05-17T10:00:00Z', '{0}', false)")
        .await
        .unwrap();
    let (auditor, anna) = (Auditor::connect(store).await.unwrap(), anna());
    auditor.forget(&anna, ten).await.unwrap();
    let numbered = async {
        let watcher = database.client().await;
        let waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted)";
        while !watcher.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {}
        settler.batch_execute("commit").await.unwrap();
    };
    let (forgotten, ()) = tokio::join!(auditor.forget_name(&anna, SiteId::NAMELESS), numbered);
    forgotten.unwrap();
    let named = "select count(*) from analytics.visitors where name = 'anna'";
    assert_eq!(database.client().await.query_one(named, &[]).await.unwrap().get::<_, i64>(0), 0);
}
