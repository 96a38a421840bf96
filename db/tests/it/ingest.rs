use db::{Flavour, Ingested};
use harness::{TestDatabase, on_both_flavours};
use model::{EventKind, SiteEvent, Timestamp};
use tokio::task::JoinSet;

use crate::support::{
    assert_counts_equal_brute_force, click, counts, event, hour, impression, settle, store_all, writer,
};

/// So many events of one batch are stored before their visitors.
const LARGE: usize = 1_001;

on_both_flavours!(
    two_equal_events_are_two_events_of_one_user,
    users_are_distinct_over_clicks_and_impressions_together,
    names_that_differ_in_any_byte_are_different_users,
    an_event_at_the_edge_of_an_hour_belongs_to_the_hour_it_begins,
    the_first_and_the_last_accepted_millisecond_are_stored,
    a_batch_over_open_and_settled_hours_is_stored_in_neither,
    many_writers_that_see_the_same_new_users_count_each_once,
);

async fn two_equal_events_are_two_events_of_one_user(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let event = click("2015-05-17T10:05:00Z", "anna");
    let mut writer = writer(database.store());
    store_all(&mut writer, &[event.clone(), event.clone()]).await;
    store_all(&mut writer, &[event]).await;
    assert_eq!(database.store().counts(&[hour("2015-05-17T10:00:00Z")]).await.unwrap(), [counts(1, 3, 0)]);
}

async fn users_are_distinct_over_clicks_and_impressions_together(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let events = [
        click("2015-05-17T10:00:00Z", "anna"),
        impression("2015-05-17T10:01:00Z", "anna"),
        impression("2015-05-17T10:02:00Z", "ben"),
    ];
    store_all(&mut writer(database.store()), &events).await;
    assert_eq!(database.store().counts(&[hour("2015-05-17T10:00:00Z")]).await.unwrap(), [counts(2, 1, 2)]);
    assert_counts_equal_brute_force(database.store()).await;
}

async fn names_that_differ_in_any_byte_are_different_users(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let names = [
        "a",
        "A",
        "a ",
        " a",
        "ä",
        "a\u{308}",
        "'; drop table analytics.events; --",
        "\\",
        "\"",
        "%",
        "🦀",
        "\u{202e}a",
        "\n",
        "NULL",
        "{}",
        "{a,b}",
        "\u{feff}a",
        "ß",
        "ss",
        "ﬁ",
        "fi",
    ];
    let events: Vec<SiteEvent> = names.iter().map(|name| click("2015-05-17T10:00:00Z", name)).collect();
    store_all(&mut writer(database.store()), &events).await;
    let each_once = counts(names.len() as u64, names.len() as u64, 0);
    assert_eq!(database.store().counts(&[hour("2015-05-17T10:00:00Z")]).await.unwrap(), [each_once]);
    settle(database.store(), hour("2015-05-17T10:00:00Z")).await;

    let rows = database.client().await.query("select user_name from analytics.events", &[]).await.unwrap();
    let mut stored: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut sent: Vec<String> = names.iter().map(ToString::to_string).collect();
    stored.sort_unstable();
    sent.sort_unstable();
    assert_eq!(stored, sent, "every name comes back as it was sent");
}

async fn an_event_at_the_edge_of_an_hour_belongs_to_the_hour_it_begins(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    store_all(&mut writer(store), &[click("2015-05-17T10:59:59.999Z", "a"), click("2015-05-17T11:00:00Z", "b")]).await;
    let hours = [hour("2015-05-17T10:00:00Z"), hour("2015-05-17T11:00:00Z")];
    assert_eq!(store.counts(&hours).await.unwrap(), [counts(1, 1, 0), counts(1, 1, 0)]);
    settle(store, hours[0]).await;
    assert_eq!(
        store.counts(&hours).await.unwrap(),
        [counts(1, 1, 0), counts(1, 1, 0)],
        "the aggregate draws the same edge"
    );
}

async fn the_first_and_the_last_accepted_millisecond_are_stored(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let ends = [Timestamp::MIN, Timestamp::MAX];
    let events = ends.map(|at| event(at, "a", EventKind::Click));
    store_all(&mut writer(store), &events).await;
    let hours = events.map(|event| event.site_hour());
    assert_eq!(store.counts(&hours).await.unwrap(), [counts(1, 1, 0), counts(1, 1, 0)]);
    let rows = database.client().await.query("select at from analytics.events order by at", &[]).await.unwrap();
    let stored: Vec<chrono::DateTime<chrono::Utc>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(stored, ends.map(Timestamp::to_utc));
}

async fn a_batch_over_open_and_settled_hours_is_stored_in_neither(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let mut writer = writer(store);
    let (ten, eleven) = (hour("2015-05-17T10:00:00Z"), hour("2015-05-17T11:00:00Z"));
    store_all(&mut writer, &[click("2015-05-17T10:00:00Z", "a")]).await;
    settle(store, ten).await;

    let both = [click("2015-05-17T10:01:00Z", "b"), click("2015-05-17T11:00:00Z", "b")];
    let blocked = Ingested::Blocked { settled: vec![ten], expired: vec![], deleted: vec![] };
    assert_eq!(writer.ingest(&both).await.unwrap(), blocked);
    assert_eq!(writer.ingest(both.iter().cycle().take(LARGE)).await.unwrap(), blocked);
    assert_eq!(store.counts(&[ten, eleven]).await.unwrap(), [counts(1, 1, 0), counts(0, 0, 0)]);
    store_all(&mut writer, &both).await;
    assert_eq!(store.counts(&[ten, eleven]).await.unwrap(), [counts(2, 2, 0), counts(1, 1, 0)]);
}

async fn many_writers_that_see_the_same_new_users_count_each_once(flavour: Flavour) {
    const WRITERS: usize = 4;
    const BATCHES: usize = 5;
    const USERS: usize = 400;
    let database = TestDatabase::new(flavour).await;
    let hours = ["2015-05-17T10:00:00Z", "2015-05-17T11:00:00Z", "2015-05-18T00:00:00Z"];

    let mut tasks = JoinSet::new();
    for number in 0..WRITERS {
        let mut writer = writer(database.store());
        tasks.spawn(async move {
            for batch in 0..BATCHES {
                // Every writer goes through the users in another order, which is what would make careless locking deadlock.
                let events: Vec<SiteEvent> = (0..USERS)
                    .flat_map(|n| {
                        let user = format!("user-{}", (n * (2 * number + 1) + batch) % USERS);
                        hours.map(|hour| impression(hour, &user))
                    })
                    .collect();
                // Large batches store their events before their visitors, small ones after them.
                let size = if number % 2 == 0 { events.len() } else { events.len() / 10 };
                assert!(events.len() >= LARGE && events.len() / 10 < LARGE);
                for part in events.chunks(size) {
                    store_all(&mut writer, part).await;
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }

    let expected = counts(USERS as u64, 0, (WRITERS * BATCHES * USERS) as u64);
    assert_eq!(database.store().counts(&hours.map(hour)).await.unwrap(), [expected; 3]);
    assert_counts_equal_brute_force(database.store()).await;
    for h in hours.map(hour) {
        settle(database.store(), h).await;
    }
}
