use std::{env, fmt::Write, fs, path::Path, time::Duration};

use db::{Examination, Flavour, Retention, objects};
use harness::{TestDatabase, on_both_flavours};

use crate::support::{click, hour, settle, store_all, writer};

on_both_flavours!(
    the_list_of_objects_is_what_the_migrations_make,
    a_database_that_was_used_has_the_same_objects,
    an_object_that_was_tampered_with_is_named,
);

const LIMIT: Duration = Duration::from_secs(30);

async fn drift(database: &TestDatabase, flavour: Flavour) -> Vec<String> {
    let drift = Examination::new(database.store(), LIMIT).drift(flavour).await.unwrap();
    drift.iter().map(ToString::to_string).collect()
}

async fn the_list_of_objects_is_what_the_migrations_make(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    if env::var_os("UPDATE_OBJECTS").is_some() {
        let found = Examination::new(database.store(), LIMIT).objects(flavour).await.unwrap();
        let mut text = String::new();
        for (object, made_of) in found {
            writeln!(text, "{object}: {made_of}").unwrap();
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/objects/{flavour}.txt"));
        fs::write(file, text).unwrap();
        return;
    }
    let drift = drift(&database, flavour).await;
    assert!(drift.is_empty(), "run this test with UPDATE_OBJECTS=1 and look at what it writes: {drift:#?}");
    assert!(objects::expected(flavour).len() > 50);
}

async fn a_database_that_was_used_has_the_same_objects(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let events = ["2015-05-17T10:00:00Z", "2015-05-18T10:00:00Z", "2020-01-01T00:00:00Z"].map(|at| click(at, "anna"));
    store_all(&mut writer(store), &events).await;
    settle(store, hour("2015-05-17T10:00:00Z")).await;
    let columnstore_after = (flavour == Flavour::Timescale).then_some(Duration::from_hours(24));
    Retention { keep: Some(Duration::from_hours(24 * 365)), columnstore_after }.write(store).await.unwrap();
    Retention::apply(store).await.unwrap();
    assert_eq!(drift(&database, flavour).await, <[String; 0]>::default());
}

async fn an_object_that_was_tampered_with_is_named(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    for statement in [
        "create or replace function analytics.hour_number(hour timestamptz) returns integer \
         language sql immutable parallel safe as $$ select 0 $$",
        "drop function analytics.forget_idle_writers()",
        "alter table analytics.settings alter column accepts_from drop not null",
        "alter table analytics.settings drop constraint settings_flavour_check",
        "alter table analytics.spools set unlogged",
        "drop index analytics.events_at",
        "create index on analytics.spools (stored_to)",
        "create or replace view analytics.hourly as \
         select hour, 0::bigint as unique_users, 0::bigint as clicks, 0::bigint as impressions from analytics.hour_counts",
        // Tuning is no drift.
        "alter table analytics.hour_users set (autovacuum_vacuum_scale_factor = 0.01)",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let named = drift(&database, flavour).await;
    assert_eq!(
        named,
        [
            "missing constraint analytics.settings.settings_flavour_check",
            "missing function analytics.forget_idle_writers()",
            "missing index analytics.events_at",
            "changed column analytics.settings.accepts_from",
            "changed function analytics.hour_number(timestamp with time zone)",
            "changed table analytics.spools",
            "changed view analytics.hourly",
            "added index analytics.spools_stored_to_idx",
        ]
    );
}
