//! Functions and views are a set: applied when it differs from what the database has, and only what it made is dropped again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use db::{
    Flavour,
    schema::{self, MigrationState, SchemaError},
};
use harness::{TestDatabase, on_both_flavours};
use tokio_postgres::Client;

use crate::support::{click, counts, hour, store_all, writer};

on_both_flavours!(
    the_set_is_applied_when_its_checksum_differs_and_only_then,
    what_is_no_longer_in_the_set_is_dropped_and_nothing_else_is,
    an_older_program_leaves_a_newer_set_as_it_is,
    what_was_changed_by_hand_is_named_and_made_anew,
    what_others_made_of_a_view_that_must_be_dropped_is_named_before_anything_changes,
    what_is_made_anew_keeps_its_owner_and_grants,
    events_are_stored_and_counted_while_the_set_is_applied,
);

const NOTHING: [String; 0] = [];
const ANOTHER_SET: &str = "update analytics.schema_functions set checksum = ''";
/// A view from which ours cannot be made in place.
const OTHER_COLUMNS: &str =
    "drop view analytics.hourly; create view analytics.hourly as select hour, clicks from analytics.hour_counts";

async fn migrate(database: &TestDatabase) -> Vec<String> {
    schema::migrate(database.store(), None).await.unwrap().applied
}

async fn is_true(client: &Client, condition: &str) -> bool {
    client.query_one(&format!("select {condition}"), &[]).await.unwrap().get(0)
}

async fn the_set_is_applied_when_its_checksum_differs_and_only_then(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    assert_eq!(migrate(&database).await, NOTHING);
    database.client().await.batch_execute(ANOTHER_SET).await.unwrap();
    let status = schema::status(database.store()).await.unwrap();
    assert_eq!(status.functions.state, MigrationState::Pending);
    assert!(status.complaint().unwrap().contains("analytics-cli migrate up"));
    assert_eq!(migrate(&database).await, ["functions 1"]);
    assert_eq!(schema::status(database.store()).await.unwrap().complaint(), None);
    assert_eq!(migrate(&database).await, NOTHING);
}

async fn what_is_no_longer_in_the_set_is_dropped_and_nothing_else_is(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    let former = "create function analytics.former(n bigint) returns bigint language sql as 'select n'; \
                  create view analytics.former_view as select analytics.former(1); \
                  create function analytics.of_somebody_else() returns bigint language sql as 'select 1::bigint'; \
                  update analytics.schema_functions set checksum = '', \
                  objects = objects || array['function analytics.former(n bigint)', 'view analytics.former_view']";
    client.batch_execute(former).await.unwrap();
    assert_eq!(migrate(&database).await, ["functions 1"]);
    assert!(
        is_true(&client, "to_regproc('analytics.former') is null and to_regclass('analytics.former_view') is null")
            .await
    );
    assert!(is_true(&client, "to_regproc('analytics.of_somebody_else') is not null").await);
    assert!(is_true(&client, "not 'view analytics.former_view' = any (objects) from analytics.schema_functions").await);
}

async fn an_older_program_leaves_a_newer_set_as_it_is(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    for (oldest_compatible, can_run) in [(1, true), (2, false)] {
        let newer = format!(
            "update analytics.schema_functions set version = 2, checksum = 'newer', oldest_compatible = {oldest_compatible}"
        );
        client.batch_execute(&newer).await.unwrap();
        let status = schema::status(database.store()).await.unwrap();
        assert_eq!((status.functions.version, status.functions.state), (2, MigrationState::Unknown));
        assert_eq!((status.is_newer_but_compatible(), status.complaint().is_none()), (can_run, can_run));
        match schema::migrate(database.store(), None).await {
            Ok(migrated) => assert!(can_run && migrated.is_newer && migrated.applied.is_empty()),
            Err(error) => assert!(!can_run && matches!(error, SchemaError::Newer(_)), "{error}"),
        }
        assert!(is_true(&client, "version = 2 and checksum = 'newer' from analytics.schema_functions").await);
    }
}

async fn what_was_changed_by_hand_is_named_and_made_anew(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let tamper = "create or replace function analytics.hour_number(hour timestamptz) returns integer language sql as 'select 0'; \
                  drop function analytics.forget_idle_writers(); \
                  create or replace view analytics.hourly as \
                  select hour, unique_users, clicks, impressions, ''::text collate \"C\" as site from analytics.settled_hours; \
                  drop trigger access_changed on analytics.access_tokens";
    database.client().await.batch_execute(tamper).await.unwrap();
    assert_eq!(
        schema::status(database.store()).await.unwrap().complaint(),
        None,
        "a look at each function takes longer"
    );
    let inspected = schema::inspect(database.store()).await.unwrap();
    assert_eq!(inspected.functions.state, MigrationState::Altered);
    let named: Vec<String> = inspected.functions.drift.iter().map(ToString::to_string).collect();
    assert_eq!(
        named,
        [
            "missing function analytics.forget_idle_writers()",
            "missing trigger access_changed on analytics.access_tokens",
            "changed function analytics.hour_number(hour timestamptz)",
            "changed view analytics.hourly",
        ]
    );
    assert!(inspected.complaint().unwrap().contains("migrate up"));

    assert_eq!(migrate(&database).await, ["functions 1"]);
    let inspected = schema::inspect(database.store()).await.unwrap();
    assert_eq!((inspected.functions.state, inspected.complaint()), (MigrationState::Applied, None));
}

async fn what_others_made_of_a_view_that_must_be_dropped_is_named_before_anything_changes(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    let pending = "drop table analytics.visitors, analytics.day_visitors; delete from analytics.schema_history where version = 10";
    for statement in [
        OTHER_COLUMNS,
        "create view public.report as select * from analytics.hourly",
        "create view public.of_report as select * from public.report",
        ANOTHER_SET,
        pending,
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let error = schema::migrate(database.store(), None).await.unwrap_err();
    assert!(matches!(error, SchemaError::Dependents(_)), "{error}");
    let named = error.to_string();
    assert!(
        named.contains("view public.report (on view analytics.hourly)") && named.contains("view public.of_report"),
        "{named}"
    );
    assert_eq!(
        schema::status(database.store()).await.unwrap().count(MigrationState::Pending),
        1,
        "nothing was applied"
    );
    assert!(is_true(&client, "count(*) = 0 from public.of_report").await);

    client.batch_execute("drop view public.report cascade").await.unwrap();
    assert_eq!(migrate(&database).await.len(), 2);
    assert_eq!(schema::inspect(database.store()).await.unwrap().complaint(), None);
}

async fn what_is_made_anew_keeps_its_owner_and_grants(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let client = database.client().await;
    let role: String =
        client.query_one("select 'dashboard_' || left(md5(random()::text), 12)", &[]).await.unwrap().get(0);
    let other_result = "drop function analytics.counts(timestamptz[], integer[]); \
                        create function analytics.counts(hours timestamptz[], sites integer[]) returns bigint language sql as 'select 1::bigint'; \
                        revoke execute on function analytics.counts(timestamptz[], integer[]) from public; \
                        alter function analytics.counts(timestamptz[], integer[]) owner to analytics_owner; \
                        grant execute on function analytics.counts(timestamptz[], integer[]) to analytics_daemon, analytics_reader";
    let grants = format!(
        "create role {role}; alter view analytics.hourly owner to analytics_owner; \
         grant select on analytics.hourly to analytics_daemon, analytics_reader, {role} with grant option; \
         grant execute on function analytics.counts(timestamptz[], integer[]) to {role}"
    );
    for statement in [OTHER_COLUMNS, other_result, grants.as_str(), ANOTHER_SET] {
        client.batch_execute(statement).await.unwrap();
    }
    assert_eq!(migrate(&database).await, ["functions 1"]);
    for condition in [
        format!("has_table_privilege('{role}', 'analytics.hourly', 'select with grant option')"),
        format!("has_function_privilege('{role}', 'analytics.counts(timestamptz[], integer[])', 'execute')"),
        "has_function_privilege('analytics_daemon', 'analytics.counts(timestamptz[], integer[])', 'execute')"
            .to_owned(),
        "proowner = 'analytics_owner'::regrole and proretset from pg_proc where oid = 'analytics.counts'::regproc"
            .to_owned(),
        // No grant was given after the transaction that made the set.
        "p.xmin = f.xmin and c.xmin = f.xmin from pg_proc as p, pg_class as c, analytics.schema_functions as f \
         where p.oid = 'analytics.counts'::regproc and c.oid = 'analytics.hourly'::regclass"
            .to_owned(),
    ] {
        assert!(is_true(&client, &condition).await, "{condition}");
    }
    assert_eq!(database.store().counts(&[hour("2015-05-17T10:00:00Z")]).await.unwrap(), [counts(0, 0, 0)]);
    client.batch_execute(&format!("drop owned by {role}; drop role {role}")).await.unwrap();
}

async fn events_are_stored_and_counted_while_the_set_is_applied(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let ten = hour("2015-05-17T10:00:00Z");
    let mut writer = writer(database.store());
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let storing = tokio::spawn(async move {
        let mut stored = 0_u64;
        while !is_done.load(Ordering::Relaxed) {
            store_all(&mut writer, &[click("2015-05-17T10:05:00Z", "anna")]).await;
            stored += 1;
            assert_eq!(writer.store().counts(&[ten]).await.unwrap(), [counts(1, stored, 0)]);
        }
        stored
    });
    for _ in 0..5 {
        database.client().await.batch_execute(ANOTHER_SET).await.unwrap();
        assert_eq!(migrate(&database).await, ["functions 1"]);
    }
    done.store(true, Ordering::Relaxed);
    assert!(storing.await.unwrap() > 5);
}
