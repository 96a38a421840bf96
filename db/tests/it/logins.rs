//! What logins may do that are members of the roles, and how a login that may little migrates.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use db::{
    Auditor, Claim, Examination, Flavour, Ingested, Retention, SettleOutcome, Store, StoreError, UniqueUsers,
    roles::{self, Roles},
    schema,
};
use harness::TestDatabase;
use model::{IdempotencyKey, SiteId, SourceName, SourcePosition, SourceStep, Submission};
use tokio_postgres::{Client, error::SqlState};

use crate::support::{
    assert_counts_equal_brute_force, click, connect, counts, hour, impression, outcome, settle, settler, store_all,
    store_of, writer,
};

async fn assert_forbidden(client: &Client, statements: &[&str]) {
    for statement in statements {
        let error = client.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error:?}");
    }
}

/// What neither the daemon nor a reader may do, whatever they are.
const FORBIDDEN_TO_ALL: &[&str] = &[
    "insert into analytics.events values (now(), 'click', 0, 'mallory')",
    "update analytics.events set user_name = 'mallory'",
    "delete from analytics.events",
    "truncate analytics.events",
    "drop table analytics.events",
    "select from analytics.hour_users",
    "select key from analytics.event_keys",
    "select last_batch from analytics.writers",
    "update analytics.hour_counts set clicks = 0",
    "delete from analytics.hour_counts",
    "delete from analytics.settled_hours",
    "update analytics.settings set accepts_from = now()",
    "update analytics.settings set oldest_compatible = 0",
    "delete from analytics.schema_history",
    "select * from analytics.settings",
    "select analytics.repair('2015-05-17T10:00:00Z', 0, false)",
    "select analytics.forget('anna', 0, '2015-05-17T10:00:00Z')",
    "select * from analytics.hours_of('anna', 0, '2015-05-17T10:00:00Z', '2015-05-17T10:00:00Z')",
    "select analytics.rebuild('2015-05-17T10:00:00Z', '{0}', '{0}', '{0}', '{0}', 0)",
    "select analytics.fence_all_writers()",
    "create table analytics.mine ()",
    "create function analytics.mine() returns void language sql as ''",
    "create or replace function analytics.register_writer() returns bigint language sql as 'select 1::bigint'",
    "alter function analytics.register_writer() security invoker",
    "alter table analytics.settings disable trigger all",
    "drop view analytics.hourly",
    "drop schema analytics cascade",
    "set role analytics_owner",
];

async fn a_login_of_the_daemon_can_do_what_the_daemon_does_and_nothing_else(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let url = database.url_of_member(&[roles::DAEMON]).await;
    let store = store_of(&url);
    let first = hour("2015-05-17T10:00:00Z");

    assert_eq!(schema::status(&store).await.unwrap().complaint(), None);
    let mut writer = writer(&store);
    store_all(&mut writer, &[click("2015-05-17T10:05:00Z", "anna"), impression("2015-05-17T10:06:00Z", "ben")]).await;
    let keyed =
        Submission::new(vec![impression("2015-05-17T10:07:00Z", "anna")], Some(IdempotencyKey::new("k").unwrap()));
    let claims = Claim::all_of(&keyed);
    let at = |position| SourcePosition { position, check: None };
    let step = |from, to| SourceStep { site: SiteId::NAMELESS, source: SourceName::new("a").unwrap(), from, to };
    let first_step = [step(at(0), at(3))];
    assert_eq!(writer.ingest_once(&keyed.events, &claims, &first_step).await.unwrap(), Ingested::Stored);
    let again = writer.ingest_once(&keyed.events, &claims, &[]).await.unwrap();
    assert!(matches!(again, Ingested::Claimed { .. }), "{again:?}");
    assert_eq!(writer.ingest_once([], &[], &[step(at(3), at(4))]).await.unwrap(), Ingested::Stored);
    assert_eq!(store.sources(SiteId::NAMELESS, "a").await.unwrap(), [("a".to_owned(), at(4))]);
    store.visitor_salt().await.unwrap();

    settle(&store, first).await;
    assert_eq!(store.counts(&[first]).await.unwrap(), [counts(2, 1, 2)]);
    store_all(&mut writer, &[click("2015-05-17T10:08:00Z", "carl")]).await;
    assert_eq!(store.counts(&[first]).await.unwrap(), [counts(3, 2, 2)], "it was reopened");
    let told = store.range_counts(SiteId::NAMELESS, &(first.hour..=first.hour)).await.unwrap();
    assert_eq!((told.hours.len(), told.unique_users), (1, UniqueUsers::Exactly(3)));
    let elected = settler(&store).await;
    assert_eq!(outcome(&elected, first).await, Some(SettleOutcome::Settled));
    assert_eq!(elected.unite_days(1).await.unwrap(), 1);
    elected.make_room_ahead().await.unwrap();
    elected.forget_idle_writers().await.unwrap();
    drop(elected);
    writer.retire().await.unwrap();
    assert_counts_equal_brute_force(database.store()).await;
    audits(&store).await;

    let client = connect(&url).await;
    assert_forbidden(&client, FORBIDDEN_TO_ALL).await;
    if flavour == Flavour::Postgres {
        // In the other, who may refresh the aggregate may read what it is computed from, and change it.
        assert_forbidden(&client, &["select from analytics.events", "delete from analytics.events_hourly"]).await;
    }
    // What may be deleted is what retention says, whatever is asked for.
    client.batch_execute("call analytics.drop_events_before('infinity')").await.unwrap();
    assert_counts_equal_brute_force(database.store()).await;
    // A type of its own in place of the catalog's would be called with the rights of the owner.
    let sneaky = client
        .batch_execute(
            "create function pg_temp.mine(text) returns boolean language plpgsql as $$ begin raise exception 'as %', current_user; end $$; \
             create domain pg_temp.timestamptz as timestamp with time zone; create temporary table settings (accepts_from text); \
             set search_path = pg_temp, analytics, pg_catalog; \
             select analytics.advance_retention(pg_catalog.now()); select analytics.make_room('{2015-05-17T10:00:00Z}'::pg_catalog.timestamptz[])",
        )
        .await;
    sneaky.unwrap();

    Retention { keep: Some(Duration::from_hours(24 * 365)), columnstore_after: None }
        .write(database.store())
        .await
        .unwrap();
    let accepts_from = Retention::apply(&store).await.unwrap().kept_from;
    assert!(accepts_from > first.hour.start().to_utc());
    let left: i64 =
        database.client().await.query_one("select count(*) from analytics.events", &[]).await.unwrap().get(0);
    assert_eq!(left, 0, "the raw events that were past their time are gone");
    assert_eq!(store.counts(&[first]).await.unwrap(), [counts(3, 2, 2)]);

    let error = Retention { keep: None, columnstore_after: None }.write(&store).await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden(_)), "{error}");
}

async fn audits(store: &Store) {
    let auditor = Auditor::connect(store).await.unwrap();
    let all = hour("1970-01-01T00:00:00Z").hour..=hour("2030-01-01T00:00:00Z").hour;
    for part in auditor.parts(&all).await.unwrap() {
        for audited in auditor.audit(&part, None).await.unwrap() {
            assert_eq!(audited.differences(), [], "{audited:?}");
        }
    }
}

async fn a_login_of_a_reader_sees_counts_and_no_visitor_and_changes_nothing(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    store_all(&mut writer(database.store()), &[click("2015-05-17T10:05:00Z", "anna")]).await;
    let url = database.url_of_member(&[roles::READER]).await;
    let (store, client) = (store_of(&url), connect(&url).await);
    let first = hour("2015-05-17T10:00:00Z");

    assert_eq!(store.counts(&[first]).await.unwrap(), [counts(1, 1, 0)]);
    let told = store.range_counts(SiteId::NAMELESS, &(first.hour..=first.hour)).await.unwrap();
    assert_eq!((told.hours.len(), told.unique_users), (1, UniqueUsers::Exactly(1)));
    let row = client.query_one("select unique_users from analytics.hourly", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
    Retention::read(&store).await.unwrap();
    audits(&store).await;
    let examination = Examination::new(&store, Duration::from_secs(30));
    examination.settling().await.unwrap();
    assert_eq!(examination.access(flavour).await.unwrap().needed, Some(Vec::new()));
    assert!(examination.drift(flavour).await.unwrap().is_empty());

    assert_forbidden(&client, FORBIDDEN_TO_ALL).await;
    assert_forbidden(
        &client,
        &[
            "select from analytics.events",
            "select visitor_salt from analytics.settings",
            "select secret_hash from analytics.access_tokens",
            "select from analytics.live_access_tokens()",
            "delete from analytics.events_hourly",
            "select analytics.register_writer()",
            "select analytics.make_room('{2015-05-17T10:00:00Z}')",
            "select * from analytics.settle('2015-05-17T10:00:00Z', '{0}', '{}', '{}')",
            "select from analytics.number_visitors('2015-05-17T10:00:00Z', '{0}', false)",
            "select from analytics.unite_day(0, '2015-05-17Z', 0, '')",
            "select from analytics.visitors",
            "select analytics.advance_retention(now())",
            "call analytics.drop_events_before(now())",
            "set role analytics_daemon",
        ],
    )
    .await;
}

/// To connect is all that it takes to hold what storing events waits for.
async fn a_login_without_a_role_is_kept_out_by_the_statements_that_doctor_gives_and_nobody_else_is(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let [stranger, of_database] = [database.url_of_member(&[]).await, database.url_of_member(&[]).await];
    let owner = database.url_of_member(&[roles::OWNER]).await;
    let daemon = database.url_of_member(&[roles::DAEMON]).await;
    let reader = database.url_of_member(&[roles::READER]).await;
    let client = database.client().await;
    let name: String = client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    let login = of_database.split(['/', '@']).nth(2).unwrap();
    client.batch_execute(&format!("alter database {name} owner to {login}")).await.unwrap();
    let before = connect(&stranger).await;
    before.batch_execute("select pg_advisory_lock(1, 1)").await.unwrap();

    database.close_to_strangers(flavour).await;
    let refused = tokio_postgres::connect(&stranger, tokio_postgres::NoTls).await.err().expect("it is kept out");
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused:?}");
    let examination = Examination::new(&store_of(&reader), Duration::from_secs(30));
    let access = examination.access(flavour).await.unwrap();
    assert_eq!((access.needed, access.admission), (Some(Vec::new()), Vec::new()));

    let first = hour("2015-05-17T10:00:00Z");
    let store = store_of(&daemon);
    store_all(&mut writer(&store), &[click("2015-05-17T10:05:00Z", "anna")]).await;
    settle(&store, first).await;
    store_all(&mut writer(&store), &[click("2015-05-17T10:06:00Z", "ben")]).await;
    assert_eq!(store_of(&reader).counts(&[first]).await.unwrap(), [counts(2, 2, 0)]);
    audits(&store_of(&reader)).await;
    assert_eq!(schema::migrate(&store_of(&owner), None).await.unwrap().roles, Roles::default());
    Auditor::connect(&store_of(&owner)).await.unwrap().repair(first, false).await.unwrap();
    connect(&of_database).await;
    client.batch_execute(&format!("alter database {name} owner to current_user")).await.unwrap();
}

/// Else a daemon that may not store would say that it is ready.
async fn a_proof_is_made_with_the_rights_of_whoever_asks_for_it(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let mut daemon = writer(&store_of(&database.url_of_member(&[roles::DAEMON]).await));
    daemon.prove().await.unwrap();
    let revoke = "do $$ begin execute format('revoke execute on function %s from analytics_daemon', 'analytics.ingest'::regproc::regprocedure); end $$";
    database.client().await.batch_execute(revoke).await.unwrap();
    assert!(matches!(daemon.prove().await.unwrap_err(), StoreError::Forbidden(_)));
}

/// A new version is put in by whoever has the owner's role, while daemons go on.
async fn a_login_in_the_owners_role_migrates_and_what_is_new_is_there_for_daemons(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let owner = store_of(&database.url_of_member(&[roles::OWNER]).await);
    let mut daemon = writer(&store_of(&database.url_of_member(&[roles::DAEMON]).await));
    let client = database.client().await;
    let as_before_the_last_migration = "drop function analytics.rehearse, analytics.advance_writer, analytics.create_site; \
                                        drop view analytics.hourly; drop table analytics.visitors, analytics.day_visitors; \
                                        delete from analytics.schema_history where version = 10; \
                                        update analytics.schema_functions set checksum = ''";
    client.batch_execute(as_before_the_last_migration).await.unwrap();
    if flavour == Flavour::Timescale {
        // Chunks have their owner already.
        let nothing_more = "revoke create on schema _timescaledb_internal from analytics_owner, analytics_refresher";
        client.batch_execute(nothing_more).await.unwrap();
    }
    let migrated = schema::migrate(&owner, None).await.unwrap();
    assert_eq!((migrated.applied.len(), migrated.roles), (2, Roles::default()), "a migration and the functions");
    daemon.prove().await.unwrap();
    store_all(&mut daemon, &[click("2015-05-17T10:05:00Z", "anna")]).await;
}

/// An installation from before there were roles: everything belongs to the login that migrated it, and a daemon is logged in as that.
async fn a_schema_of_another_login_changes_hands_while_its_daemon_goes_on(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let owner = database.url_of_member(&[]).await;
    let login = owner.split(['/', '@']).nth(2).unwrap();
    let client = database.client().await;
    store_all(&mut writer(database.store()), &[click("2015-05-17T09:05:00Z", "anna")]).await;
    let name: String = client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    client
        .batch_execute(&format!(
            "alter role {login} superuser; alter database {name} owner to {login}; \
             do $$ declare it record; begin \
                 for it in select c.oid::regclass as name, c.relkind from pg_class as c \
                     where c.relnamespace = 'analytics'::regnamespace and c.relkind in ('r', 'p', 'v') loop \
                     execute format(case when it.name = 'analytics.events_hourly'::regclass and it.relkind = 'v' \
                         then 'alter materialized view %s owner to {login}' else 'alter table %s owner to {login}' end, it.name); \
                 end loop; \
                 for it in select p.oid::regprocedure as name from pg_proc as p where p.pronamespace = 'analytics'::regnamespace loop \
                     execute format('alter routine %s owner to {login}', it.name); \
                     execute format('grant execute on routine %s to public', it.name); \
                 end loop; \
             end $$; \
             alter schema analytics owner to {login}; alter type analytics.event_kind owner to {login}"
        ))
        .await
        .unwrap();

    let store = store_of(&owner);
    let mut writer = writer(&store);
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let going_on = tokio::spawn(async move {
        let mut stored = 0_u64;
        while !is_done.load(Ordering::Relaxed) {
            store_all(&mut writer, &[click("2015-05-17T10:05:00Z", "anna")]).await;
            stored += 1;
            let found = writer.store().counts(&[hour("2015-05-17T10:00:00Z")]).await.unwrap();
            assert_eq!(found, [counts(1, stored, 0)]);
        }
        stored
    });
    let migrated = schema::migrate(database.store(), None).await.unwrap();
    assert_eq!(migrated.roles.lacking, Vec::<String>::new());
    done.store(true, Ordering::Relaxed);
    let stored = going_on.await.unwrap();
    assert_eq!(store.counts(&[hour("2015-05-17T10:00:00Z")]).await.unwrap(), [counts(1, stored, 0)]);
    let examination = Examination::new(database.store(), Duration::from_secs(30));
    assert_eq!(examination.access(flavour).await.unwrap().needed, Some(Vec::new()));
    client.batch_execute(&format!("alter database {name} owner to current_user")).await.unwrap();
}

/// On a server where somebody else is the superuser.
async fn an_owner_of_the_database_is_given_one_list_once_and_does_the_rest(flavour: Flavour) {
    let database = TestDatabase::without_schema(flavour).await;
    let owner = database.url_of_member(&[]).await;
    let (login, superuser) = (owner.split(['/', '@']).nth(2).unwrap(), database.client().await);
    let name: String = superuser.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    superuser.batch_execute(&format!("alter database {name} owner to {login}")).await.unwrap();

    let owner = store_of(&owner);
    let first = schema::migrate(&owner, Some(flavour)).await.unwrap();
    assert!(!first.applied.is_empty());
    let lacking = first.roles.lacking;
    let mut expected = vec![format!("grant analytics_owner to {login}")];
    if flavour == Flavour::Timescale {
        expected
            .push("grant create on schema _timescaledb_internal to analytics_owner, analytics_refresher".to_owned());
    }
    // The roles may be there, since they belong to all databases of the server.
    let about_this_database: Vec<_> = lacking
        .iter()
        .filter(|s| !s.starts_with("create role") && !s.starts_with("grant analytics_refresher"))
        .collect();
    assert_eq!(about_this_database, expected.iter().collect::<Vec<_>>());
    // Meanwhile a daemon that is logged in as the owner works.
    let hour_of_it = hour("2015-05-17T10:00:00Z");
    store_all(&mut writer(&owner), &[click("2015-05-17T10:05:00Z", "anna")]).await;
    settle(&owner, hour_of_it).await;

    for statement in &lacking {
        // Another test may make the same role at the same moment.
        let _ = superuser.batch_execute(statement).await;
    }
    assert_eq!(schema::migrate(&owner, None).await.unwrap().roles, Roles::default());
    let access = Examination::new(database.store(), Duration::from_secs(30)).access(flavour).await.unwrap();
    assert_eq!(access.needed, Some(Vec::new()));
    let daemon = store_of(&database.url_of_member(&[roles::DAEMON]).await);
    store_all(&mut writer(&daemon), &[click("2015-05-17T10:06:00Z", "ben"), click("2020-05-17T10:06:00Z", "ben")])
        .await;
    settle(&daemon, hour_of_it).await;
    assert_eq!(daemon.counts(&[hour_of_it]).await.unwrap(), [counts(2, 2, 0)]);
    assert_counts_equal_brute_force(database.store()).await;
    superuser.batch_execute(&format!("alter database {name} owner to current_user")).await.unwrap();
    let reassign = format!("reassign owned by {login} to current_user; drop owned by {login}");
    superuser.batch_execute(&reassign).await.unwrap();
}

with_logins!(
    a_login_of_the_daemon_can_do_what_the_daemon_does_and_nothing_else,
    a_login_of_a_reader_sees_counts_and_no_visitor_and_changes_nothing,
    a_login_without_a_role_is_kept_out_by_the_statements_that_doctor_gives_and_nobody_else_is,
    a_proof_is_made_with_the_rights_of_whoever_asks_for_it,
    a_login_in_the_owners_role_migrates_and_what_is_new_is_there_for_daemons,
    a_schema_of_another_login_changes_hands_while_its_daemon_goes_on,
    an_owner_of_the_database_is_given_one_list_once_and_does_the_rest,
);
