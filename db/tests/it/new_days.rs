use std::time::Duration;

use db::Flavour;
use harness::{TestDatabase, on_both_flavours};
use model::SiteEvent;
use tokio::{task::JoinSet, time::timeout};
use tokio_postgres::Client;

use crate::support::{
    assert_counts_equal_brute_force, click, counts, has_logins, hour, impression, settler, store_all, writer,
};

on_both_flavours!(
    large_and_small_batches_that_begin_a_day_together_are_all_stored,
    writers_that_miss_the_same_day_at_the_same_time_all_store,
    there_is_room_for_tomorrow_before_its_first_event,
    a_day_whose_raw_events_were_dropped_by_hand_has_no_room_until_an_event_comes,
    making_room_does_not_wait_for_an_insert_nor_an_insert_for_it,
);

async fn has_room(client: &Client, hour: &str) -> bool {
    // A name of its own for each, because in WebAssembly all clients share what is prepared.
    let query = format!("select analytics.has_room('{hour}')");
    let rows = client.simple_query(&query).await.unwrap();
    rows.iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0) == Some("t")),
            _ => None,
        })
        .unwrap()
}

/// So it is at midnight, and when an import runs beside live traffic.
async fn large_and_small_batches_that_begin_a_day_together_are_all_stored(flavour: Flavour) {
    const DAYS: usize = 12;
    /// More than are stored before their visitors.
    const LARGE: usize = 1_200;
    let database = TestDatabase::new(flavour).await;
    let mut writers: Vec<_> = (0..4).map(|_| writer(database.store())).collect();
    let first = hour("2015-05-17T10:00:00Z");
    let days: Vec<String> = (0..DAYS)
        .map(|day| (first.hour.start().to_utc() + Duration::from_hours(24) * u32::try_from(day).unwrap()).to_rfc3339())
        .collect();
    for day in &days {
        let mut storing = JoinSet::new();
        for (number, mut writer) in writers.drain(..).enumerate() {
            let day = day.clone();
            storing.spawn(async move {
                let events: Vec<SiteEvent> =
                    (0..LARGE).map(|n| impression(&day, &format!("user-{}", (n * (2 * number + 1)) % LARGE))).collect();
                let size = if number % 2 == 0 { LARGE } else { 10 };
                for part in events.chunks(size).take(30) {
                    store_all(&mut writer, part).await;
                }
                writer
            });
        }
        while let Some(stored) = storing.join_next().await {
            writers.push(stored.unwrap());
        }
    }
    for day in &days {
        let found = database.store().counts(&[hour(day)]).await.unwrap();
        assert_eq!(found, [counts(LARGE as u64, 0, 2 * (LARGE as u64 + 300))]);
    }
    assert_counts_equal_brute_force(database.store()).await;
}

async fn writers_that_miss_the_same_day_at_the_same_time_all_store(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut tasks = JoinSet::new();
    for number in 0..6 {
        let mut writer = writer(database.store());
        tasks.spawn(async move {
            for day in 1..=9 {
                store_all(&mut writer, &[click(&format!("2015-05-0{day}T10:00:00Z"), &format!("user-{number}"))]).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let days: i64 =
        database.client().await.query_one("select count(*) from analytics.event_days()", &[]).await.unwrap().get(0);
    assert_eq!(days, 9);
    let counted = database.store().counts(&[hour("2015-05-09T10:00:00Z")]).await.unwrap();
    assert_eq!(counted[0].unique_users, 6);
}

async fn there_is_room_for_tomorrow_before_its_first_event(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    let days = "select count(*) from analytics.event_days() as d (day) where day in ( \
                date_bin(interval '24 hours', now(), timestamptz 'epoch'), \
                date_bin(interval '24 hours', now(), timestamptz 'epoch') + interval '24 hours')";
    let settler = settler(database.store()).await;
    for _ in 0..2 {
        settler.make_room_ahead().await.unwrap();
        assert_eq!(client.query_one(days, &[]).await.unwrap().get::<_, i64>(0), 2);
    }
    let row = client
        .query_one("select analytics.has_room(now()) and analytics.has_room(now() + interval '1 day')", &[])
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
}

async fn a_day_whose_raw_events_were_dropped_by_hand_has_no_room_until_an_event_comes(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    let mut writer = writer(database.store());
    let at = "2015-05-17T10:00:00Z";
    let drop_all = match flavour {
        Flavour::Postgres => &[
            "drop table analytics.events_20150517",
            "alter table analytics.events detach partition analytics.events_20150517; \
              drop table analytics.events_20150517",
        ][..],
        Flavour::Timescale => &[
            "select drop_chunks('analytics.events', older_than => timestamptz '2016-01-01')",
            "do $$ begin execute format('drop table %s', (select show_chunks('analytics.events'))); end $$",
        ],
    };
    assert!(!has_room(&client, at).await);
    for (n, drop_all) in drop_all.iter().enumerate() {
        store_all(&mut writer, &[click(at, &format!("user-{n}"))]).await;
        assert!(has_room(&client, at).await && !has_room(&client, "2015-05-18T00:00:00Z").await);
        client.batch_execute(drop_all).await.unwrap();
        assert!(!has_room(&client, at).await, "after {drop_all}");
    }
    store_all(&mut writer, &[click(at, "last")]).await;
    assert!(has_room(&client, at).await && has_room(&client, "2015-05-17T23:00:00Z").await);
    let left: i64 = client.query_one("select count(*) from analytics.events", &[]).await.unwrap().get(0);
    assert_eq!(left, 1);
}

async fn making_room_does_not_wait_for_an_insert_nor_an_insert_for_it(flavour: Flavour) {
    if !has_logins(flavour) {
        eprintln!("SKIPPED: TEST_TIMESCALE_URL names no server on which two transactions can be open at once");
        return;
    }
    let database = TestDatabase::new(flavour).await;
    store_all(&mut writer(database.store()), &[click("2015-05-17T10:00:00Z", "a")]).await;

    // One transaction has inserted, another has made room; neither has committed.
    let (mut one, mut other) = (database.client().await, database.client().await);
    let inserting = one.transaction().await.unwrap();
    inserting
        .batch_execute("insert into analytics.events values ('2015-05-17T10:00Z', 'click', 0, 'x')")
        .await
        .unwrap();
    let making = other.transaction().await.unwrap();
    let make = making.batch_execute("select analytics.make_room(array['2015-06-01T00:00Z'::timestamptz])");
    timeout(Duration::from_secs(30), make).await.expect("it does not wait for the insert").unwrap();

    let mut writer = writer(database.store());
    let events = [click("2015-05-17T10:30:00Z", "b")];
    let insert = store_all(&mut writer, &events);
    timeout(Duration::from_secs(30), insert).await.expect("it does not wait for the room");
    making.commit().await.unwrap();
    inserting.rollback().await.unwrap();
}

/// A chunk that the extension made by itself, and chunks of another length, are what somebody's hand leaves.
#[tokio::test]
async fn a_chunk_that_the_extension_made_by_itself_is_noted_with_the_next_batch() {
    let database = TestDatabase::new(Flavour::Timescale).await;
    let client = database.client().await;
    let mut writer = writer(database.store());
    let by_hand = async |at: &str| {
        client.batch_execute(&format!("insert into analytics.events values ('{at}', 'click', 0, 'x')")).await.unwrap();
    };
    by_hand("2015-05-17T10:00:00Z").await;
    assert!(!has_room(&client, "2015-05-17T10:00:00Z").await, "nobody has looked yet");
    store_all(&mut writer, &[click("2015-05-17T11:00:00Z", "a")]).await;
    assert!(has_room(&client, "2015-05-17T10:00:00Z").await);

    for (interval, at) in [("7 days", "2015-06-17T10:00:00Z"), ("6 hours", "2015-07-17T10:00:00Z")] {
        client
            .batch_execute(&format!("select set_chunk_time_interval('analytics.events', interval '{interval}')"))
            .await
            .unwrap();
        // The extension makes the chunk with the first, and the second finds it.
        for user in ["a", "b"] {
            store_all(&mut writer, &[click(at, user)]).await;
        }
        assert!(has_room(&client, at).await, "{interval}");
    }
    client.batch_execute("select set_chunk_time_interval('analytics.events', interval '1 day')").await.unwrap();
    // The rest of the day of which six hours are there.
    for user in ["a", "b"] {
        store_all(&mut writer, &[impression("2015-07-17T20:00:00Z", user)]).await;
    }
    assert!(has_room(&client, "2015-07-17T20:00:00Z").await && has_room(&client, "2015-07-17T10:00:00Z").await);
    let counted = database.store().counts(&[hour("2015-07-17T20:00:00Z")]).await.unwrap();
    assert_eq!(counted, [counts(2, 0, 2)]);
}
