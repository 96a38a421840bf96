use std::{collections::BTreeSet, time::Duration};

use db::{
    Examination, Flavour,
    embedded::Embedded,
    roles::{self, Roles},
    schema,
};
use harness::{TestDatabase, embedded_options, on_both_flavours, server_dir};
use tokio_postgres::Client;

use crate::support::{
    assert_counts_equal_brute_force, click, connect, counts, hour, settle, store_all, store_of, writer,
};

on_both_flavours!(
    every_function_is_in_exactly_one_list_and_each_of_a_list_is_there,
    after_migrating_everything_belongs_to_whom_it_should_and_nobody_else_may_call_anything,
    what_runs_with_the_rights_of_its_owner_searches_no_schema_that_others_write_to,
);

async fn names(client: &Client, query: &str) -> BTreeSet<String> {
    client.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn every_function_is_in_exactly_one_list_and_each_of_a_list_is_there(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let there = names(
        &database.client().await,
        "select proname::text from pg_proc where pronamespace = 'analytics'::regnamespace",
    )
    .await;
    let lists = [roles::FOR_THE_DAEMON, roles::FOR_READERS_TOO, roles::FOR_THE_OWNER];
    let listed: BTreeSet<String> = lists.iter().flat_map(|list| list.iter().map(|&name| name.to_owned())).collect();
    assert_eq!(listed.len(), lists.iter().map(|list| list.len()).sum::<usize>(), "a function is in two lists");
    let unlisted: Vec<_> = there.difference(&listed).collect();
    assert!(unlisted.is_empty(), "say in db/src/roles who may call {unlisted:?}");
    // Each flavour has some functions of its own.
    let only_of_the_other = match flavour {
        Flavour::Postgres => &["chunk_of", "has_chunk", "make_chunk", "note_chunk"][..],
        Flavour::Timescale => &["drop_oldest_events_before", "make_partition", "partition_of"],
    };
    let missing: Vec<_> =
        listed.difference(&there).filter(|name| !only_of_the_other.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} are not there");
}

async fn after_migrating_everything_belongs_to_whom_it_should_and_nobody_else_may_call_anything(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let examination = Examination::new(database.store(), Duration::from_secs(30));
    assert_eq!(examination.access(flavour).await.unwrap().needed, Some(Vec::new()));
    let client = database.client().await;
    for (what, query) in [
        (
            "routines that everybody may call",
            "select p.oid::regprocedure::text from pg_proc as p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a \
             where p.pronamespace = 'analytics'::regnamespace and a.grantee = 0",
        ),
        (
            "what a superuser owns",
            "select c.oid::regclass::text from pg_class as c join pg_roles as r on r.oid = c.relowner \
             where c.relnamespace = 'analytics'::regnamespace and r.rolsuper \
             union all select p.oid::regprocedure::text from pg_proc as p join pg_roles as r on r.oid = p.proowner \
             where p.pronamespace = 'analytics'::regnamespace and r.rolsuper",
        ),
        (
            "who may make something in the schema",
            "select a.grantee::regrole::text from pg_namespace as n, aclexplode(n.nspacl) as a \
             where n.nspname = 'analytics' and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner",
        ),
    ] {
        assert_eq!(names(&client, query).await, BTreeSet::new(), "{what}");
    }

    // What somebody gave away by hand is taken back, and what was taken is given again.
    client
        .batch_execute(
            "grant delete on analytics.events to analytics_daemon; grant execute on function analytics.forget(text, integer, timestamptz) to public; \
             revoke execute on function analytics.register_writer() from analytics_daemon",
        )
        .await
        .unwrap();
    assert_eq!(examination.access(flavour).await.unwrap().needed.unwrap().len(), 3);
    assert_eq!(schema::migrate(database.store(), None).await.unwrap().roles, Roles::default());
    assert_eq!(examination.access(flavour).await.unwrap().needed, Some(Vec::new()));
}

async fn what_runs_with_the_rights_of_its_owner_searches_no_schema_that_others_write_to(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let open = names(
        &database.client().await,
        "select oid::regprocedure::text from pg_proc where pronamespace = 'analytics'::regnamespace and prosecdef \
         and not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false)",
    )
    .await;
    assert_eq!(open, BTreeSet::new());
}

/// A server on which there are no roles yet.
#[tokio::test]
async fn who_may_make_roles_does_and_who_may_not_is_told_what_is_lacking() {
    let dir = server_dir();
    let server = Embedded::start(&embedded_options(dir.path(), Flavour::Postgres)).await.unwrap();
    let superuser = connect(server.url()).await;
    for statement in [
        "create role poor login",
        "create role manager login createrole",
        "create database of_poor owner poor",
        "create database of_manager owner manager",
        "create database a",
        "create database b",
    ] {
        superuser.batch_execute(statement).await.unwrap();
    }
    let url = |login: &str, database: &str| {
        let (_, place) = server.url().split_once('@').unwrap();
        let (_, query) = place.split_once('?').unwrap();
        format!("postgres://{login}@/{database}?{query}")
    };
    let migrate = async |login: &str, database: &str| {
        schema::migrate(&store_of(&url(login, database)), Some(Flavour::Postgres)).await.unwrap().roles
    };

    let poor = store_of(&url("poor", "of_poor"));
    let lacking = migrate("poor", "of_poor").await.lacking;
    assert!(lacking[0].starts_with("create role analytics_owner"), "{lacking:?}");
    assert!(lacking.contains(&"grant analytics_owner to poor".to_owned()), "{lacking:?}");
    store_all(&mut writer(&poor), &[click("2015-05-17T10:05:00Z", "anna")]).await;
    settle(&poor, hour("2015-05-17T10:00:00Z")).await;

    let superuser_name = server.url().split(['/', '@']).nth(2).unwrap();
    // Roles belong to all databases of the server.
    let (a, b, manager) =
        tokio::join!(migrate(superuser_name, "a"), migrate(superuser_name, "b"), migrate("manager", "of_manager"));
    assert_eq!([a.lacking, b.lacking], [const { Vec::<String>::new() }; 2]);
    // Roles that somebody else made are somebody else's to give.
    for statement in manager.lacking.iter().chain(&["grant analytics_owner to poor".to_owned()]) {
        let _ = superuser.batch_execute(statement).await;
    }
    assert_eq!(migrate("manager", "of_manager").await.lacking, Vec::<String>::new());
    assert_eq!(migrate("poor", "of_poor").await.lacking, Vec::<String>::new());
    assert_eq!(poor.counts(&[hour("2015-05-17T10:00:00Z")]).await.unwrap(), [counts(1, 1, 0)]);
    let mut again = writer(&poor);
    store_all(&mut again, &[click("2015-05-17T10:06:00Z", "ben"), click("2020-05-17T10:06:00Z", "ben")]).await;
    assert_counts_equal_brute_force(&poor).await;
    server.stop().await.unwrap();
}
