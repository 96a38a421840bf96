use db::{Auditor, Flavour, Forgotten, Store, Traces};
use harness::{TestDatabase, on_both_flavours};
use model::{Hour, SiteId, Timestamp, UserName};

use crate::support::{assert_counts_equal_brute_force, click, counts, hour, impression, settle, store_all, writer};

on_both_flavours!(
    whoever_is_forgotten_is_in_no_raw_event_and_no_hour_and_everybody_else_is,
    somebody_who_was_forgotten_and_comes_again_is_counted_as_new,
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
