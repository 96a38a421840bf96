use std::time::Duration;

use db::{
    Flavour, Store, StoreOptions,
    schema::{self, MigrationState, SchemaError},
};
use harness::{TestDatabase, on_both_flavours};

use crate::support::{click, counts, hour, store_all, writer};

on_both_flavours!(
    migrating_an_empty_database_makes_it_current_and_again_changes_nothing,
    an_altered_migration_and_one_of_a_newer_version_are_told_apart,
    a_build_runs_on_a_newer_schema_for_as_long_as_that_says_it_can,
);

async fn migrating_an_empty_database_makes_it_current_and_again_changes_nothing(flavour: Flavour) {
    let database = TestDatabase::without_schema(flavour).await;
    let store = database.store();
    let before = schema::status(store).await.unwrap();
    assert_eq!(before.flavour, None);
    assert!(before.migrations.iter().all(|m| m.state == MigrationState::Pending));
    assert!(before.complaint().unwrap().contains("analytics-cli migrate up"));

    let made = schema::migrate(store, Some(flavour)).await.unwrap();
    assert_eq!((made.flavour, made.applied.len()), (flavour, before.migrations.len() + 1), "and the functions");
    let after = schema::status(store).await.unwrap();
    assert_eq!((after.flavour, after.complaint()), (Some(flavour), None));

    let again = schema::migrate(store, None).await.unwrap();
    assert_eq!((again.flavour, again.applied), (flavour, vec![]), "the schema itself says which flavour it is");
}

async fn an_altered_migration_and_one_of_a_newer_version_are_told_apart(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    client.batch_execute("update analytics.schema_history set checksum = '1' where version = 3").await.unwrap();
    let status = schema::status(database.store()).await.unwrap();
    assert_eq!(status.count(MigrationState::Altered), 1);
    assert!(status.complaint().unwrap().contains("migrate verify"));
    assert!(matches!(schema::migrate(database.store(), None).await, Err(SchemaError::Failed(_))));

    client
        .batch_execute(
            "insert into analytics.schema_history (version, name, applied_on, checksum) \
             select 9999, 'from_the_future', applied_on, checksum from analytics.schema_history where version = 1",
        )
        .await
        .unwrap();
    client.batch_execute("update analytics.settings set oldest_compatible = 9999").await.unwrap();
    let status = schema::status(database.store()).await.unwrap();
    assert_eq!(status.count(MigrationState::Unknown), 1);
    assert!(status.complaint().unwrap().contains("newer version"));

    client.batch_execute("update analytics.schema_history set checksum = '1'").await.unwrap();
    let status = schema::status(database.store()).await.unwrap();
    assert!(status.complaint().unwrap().contains("before the first release"));
}

async fn a_build_runs_on_a_newer_schema_for_as_long_as_that_says_it_can(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let store = database.store();
    let client = database.client().await;
    client
        .batch_execute(
            "insert into analytics.schema_history (version, name, applied_on, checksum) \
             select 9999, 'from_the_future', applied_on, checksum from analytics.schema_history where version = 1",
        )
        .await
        .unwrap();
    let status = schema::status(store).await.unwrap();
    assert!(status.is_newer_but_compatible());
    assert_eq!(status.complaint(), None);
    // As a replica that starts again with --migrate would.
    let migrated = schema::migrate(store, None).await.unwrap();
    assert_eq!((migrated.applied, migrated.is_newer), (Vec::new(), true));

    client.batch_execute("update analytics.settings set oldest_compatible = 9999").await.unwrap();
    let status = schema::status(store).await.unwrap();
    assert!(!status.is_newer_but_compatible());
    assert!(status.complaint().unwrap().contains("newer version"));
    assert!(matches!(schema::migrate(store, None).await, Err(SchemaError::Newer(_))));
}

/// A report that reads for long would otherwise keep everybody who comes later waiting behind the migration that waits for it.
#[tokio::test]
async fn a_migration_that_waits_for_a_lock_lets_others_go_on_and_is_applied_in_the_end() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let client = database.client().await;
    let mut reader = database.client().await;
    client.batch_execute("update analytics.schema_functions set checksum = ''").await.unwrap();

    let reading = reader.transaction().await.unwrap();
    reading.execute("select from analytics.hourly", &[]).await.unwrap();
    let let_go = async {
        let waits =
            "select exists (select from pg_locks where not granted and relation = 'analytics.hourly'::regclass)";
        for is_waiting in [true, false] {
            while client.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) != is_waiting {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // It has given up for the moment, and the reader is still there.
        store_all(&mut writer(database.store()), &[click("2015-05-17T10:00:00Z", "anna")]).await;
        assert_eq!(database.store().counts(&[hour("2015-05-17T10:00:00Z")]).await.unwrap(), [counts(1, 1, 0)]);
        reading.rollback().await.unwrap();
    };
    let (migrated, ()) = tokio::join!(schema::migrate(database.store(), None), let_go);
    assert_eq!(migrated.unwrap().applied, ["functions 1"]);
}

#[tokio::test]
async fn several_that_migrate_at_the_same_time_take_turns() {
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let store = database.store();
    let migrate = || schema::migrate(store, Some(Flavour::Postgres));
    let everything = schema::status(store).await.unwrap().migrations.len() + 1;
    for applied_by_one in [everything, 1] {
        let (a, b, c) = tokio::join!(migrate(), migrate(), migrate());
        let mut applied = [a, b, c].map(|outcome| outcome.unwrap().applied.len());
        applied.sort_unstable();
        assert_eq!(applied, [0, 0, applied_by_one], "one applied everything, the others found nothing to do");
        let another_set = "update analytics.schema_functions set checksum = ''";
        database.client().await.batch_execute(another_set).await.unwrap();
    }
}

#[tokio::test]
async fn a_schema_is_not_turned_into_another_flavour() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let refused = schema::migrate(database.store(), Some(Flavour::Timescale)).await;
    assert!(matches!(refused, Err(SchemaError::OtherFlavour { made: Flavour::Postgres, asked: Flavour::Timescale })));
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_name_is_refused_with_what_to_do() {
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let client = database.client().await;
    let name: String = client.query_one("select current_database() || '_ascii'", &[]).await.unwrap().get(0);
    client.batch_execute(&format!("create database {name} encoding 'SQL_ASCII' template template0")).await.unwrap();
    let own: String = client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    // The last part of the path; the name of the user or of a folder may be the same.
    let (place, query) = database.url().split_once('?').unwrap_or((database.url(), ""));
    let url = format!("{}{name}?{query}", place.strip_suffix(own.as_str()).unwrap());
    let store = Store::new(&url, StoreOptions::default()).unwrap();
    let refused = schema::migrate(&store, None).await;
    drop(store);
    client.batch_execute(&format!("drop database {name} with (force)")).await.unwrap();
    let error = refused.unwrap_err();
    assert!(matches!(error, SchemaError::Encoding(_)));
    assert!(error.to_string().contains("SQL_ASCII") && error.to_string().contains("UTF8"), "{error}");
}
