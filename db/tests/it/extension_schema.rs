//! TimescaleDB in a schema of its own, whose functions no session finds by itself.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use db::{
    Examination, Flavour, Retention, Store,
    roles::{self, Roles},
    schema::{self, SchemaError},
};
use harness::TestDatabase;

use crate::support::{
    assert_counts_equal_brute_force, click, connect, counts, has_logins, hour, settle, store_all, store_of, writer,
};

/// A name that is read only where it is quoted, and one that is not quoted.
const QUOTED: &str = "\"Time Scale\"";
const PLAIN: &str = "ts2";
const TEN: &str = "2015-05-17T10:00:00Z";

/// A database in WebAssembly is one where the extension was made in `public`, and cannot be made again.
async fn database_with_extension_in(schema: &str) -> Option<TestDatabase> {
    if !has_logins(Flavour::Timescale) {
        eprintln!("SKIPPED: TEST_TIMESCALE_URL names no server on which the extension can be made elsewhere");
        return None;
    }
    let database = TestDatabase::without_schema(Flavour::Timescale).await;
    let make = format!("create schema {schema}; create extension timescaledb schema {schema}");
    database.client().await.batch_execute(&make).await.unwrap();
    Some(database)
}

/// What is called of the extension: chunks are made, an hour is refreshed, chunks are deleted, the columnstore is set.
async fn an_hour_is_settled_and_its_day_deleted(owner: &Store, daemon: &Store) {
    store_all(&mut writer(daemon), &[click("2015-05-17T10:05:00Z", "anna")]).await;
    settle(daemon, hour(TEN)).await;
    assert_counts_equal_brute_force(owner).await;
    store_all(&mut writer(daemon), &[click("2015-05-17T10:06:00Z", "ben")]).await;
    settle(daemon, hour(TEN)).await;
    let (keep, columnstore_after) = (Some(Duration::from_hours(24 * 365)), Some(Duration::from_hours(24)));
    Retention { keep, columnstore_after }.write(owner).await.unwrap();
    assert_eq!(Retention::read(owner).await.unwrap().columnstore_after, columnstore_after);
    Retention::apply(daemon).await.unwrap();
    assert_eq!(owner.stored_events().await.unwrap(), [], "the day is past its time");
    assert_eq!(daemon.counts(&[hour(TEN)]).await.unwrap(), [counts(2, 2, 0)]);
}

#[tokio::test]
async fn everything_works_where_the_extension_has_a_schema_of_its_own() {
    let Some(database) = database_with_extension_in(QUOTED).await else { return };
    let client = database.client().await;
    let migrated = schema::migrate(database.store(), None).await.unwrap();
    assert_eq!((migrated.flavour, migrated.roles.lacking), (Flavour::Timescale, Vec::new()));
    assert_eq!(schema::inspect(database.store()).await.unwrap().complaint(), None);
    assert_eq!(schema::migrate(database.store(), None).await.unwrap().applied, Vec::<String>::new());
    let examination = Examination::new(database.store(), Duration::from_secs(30));
    assert_eq!(examination.drift(Flavour::Timescale).await.unwrap(), []);
    let daemon = store_of(&database.url_of_member(&[roles::DAEMON]).await);
    an_hour_is_settled_and_its_day_deleted(database.store(), &daemon).await;

    let closed = format!("revoke usage on schema {QUOTED} from analytics_daemon");
    client.batch_execute(&closed).await.unwrap();
    let needed = examination.access(Flavour::Timescale).await.unwrap().needed;
    assert_eq!(needed, Some(vec![format!("grant usage on schema {QUOTED} to analytics_daemon")]));
    assert_eq!(schema::migrate(database.store(), None).await.unwrap().roles, Roles::default());
    let lately = (Utc::now() - TimeDelta::days(2)).to_rfc3339();
    store_all(&mut writer(&daemon), &[click(&lately, "anna")]).await;
    settle(&daemon, hour(&lately)).await;
}

#[tokio::test]
async fn a_login_that_may_not_call_the_extension_is_told_so_before_the_first_migration() {
    let Some(database) = database_with_extension_in(PLAIN).await else { return };
    let superuser = database.client().await;
    let url = database.url_of_member(&[]).await;
    let (login, name): (String, String) = {
        let row = connect(&url).await.query_one("select current_user::text, current_database()::text", &[]).await;
        let row = row.unwrap();
        (row.get(0), row.get(1))
    };
    superuser.batch_execute(&format!("alter database {name} owner to {login}")).await.unwrap();
    let store = store_of(&url);
    let migrate = async || schema::migrate_and_choose(&store, None, Some(roles::Use::OwnerAlone)).await;
    let SchemaError::Lacking { statements, .. } = migrate().await.unwrap_err() else { panic!("it may do everything") };
    assert_eq!(statements, ["grant usage on schema ts2 to public;"]);
    let there = "select to_regnamespace('analytics') is not null";
    assert!(!superuser.query_one(there, &[]).await.unwrap().get::<_, bool>(0), "nothing was applied");

    superuser.batch_execute(&statements[0]).await.unwrap();
    assert_eq!(migrate().await.unwrap().roles, Roles::default());
    let examination = Examination::new(&store, Duration::from_secs(30));
    assert_eq!(examination.drift(Flavour::Timescale).await.unwrap(), []);
    superuser.batch_execute("revoke usage on schema ts2 from public").await.unwrap();
    let lacking = vec![format!("grant usage on schema ts2 to {login}")];
    assert_eq!(examination.access(Flavour::Timescale).await.unwrap().needed, Some(lacking.clone()));
    assert_eq!(migrate().await.unwrap().roles.lacking, lacking);
    superuser.batch_execute(&lacking[0]).await.unwrap();
    an_hour_is_settled_and_its_day_deleted(&store, &store).await;
    drop(store);
    let gives_up = format!(
        "alter database {name} owner to current_user; reassign owned by {login} to current_user; drop owned by {login}"
    );
    superuser.batch_execute(&gives_up).await.unwrap();
}
