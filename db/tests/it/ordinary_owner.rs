//! A database whose owner is no superuser and may make no roles, as managed services give it out: what it lacks, and its life with and without roles.

use std::time::Duration;

use db::{
    Access, AccessTokens, Auditor, Claim, Examination, Flavour, Forgotten, Ingested, NewAccessToken, Retention,
    Service, Store, StoreError, UniqueUsers,
    embedded::Embedded,
    roles::{self, Roles, Use},
    schema::{self, SchemaError},
};
use harness::{TestDatabase, embedded_options, server_dir};
use model::{
    IdempotencyKey, SiteId, Submission, UserName,
    access::{IssuedToken, Scope, Scopes},
};
use tokio_postgres::Client;

use crate::support::{
    assert_counts_equal_brute_force, click, connect, counts, hour, impression, settle, settler, store_all, store_of,
    writer,
};

/// A database without a schema, and an ordinary login.
struct Owned {
    login: String,
    name: String,
    url: String,
    store: Store,
    superuser: Client,
    database: TestDatabase,
}

impl Owned {
    /// The login owns the database, and the extension is there if the flavour needs it.
    async fn new(flavour: Flavour) -> Self {
        let owned = Self::of_somebody_else(flavour).await;
        let Self { name, login, .. } = &owned;
        owned.run(&format!("alter database {name} owner to {login}")).await;
        if flavour == Flavour::Timescale {
            owned.run("create extension timescaledb").await;
        }
        owned
    }

    /// The login may no more than connect.
    async fn of_somebody_else(flavour: Flavour) -> Self {
        let database = TestDatabase::without_schema(flavour).await;
        let url = database.url_of_member(&[]).await;
        let login = url.split(['/', '@']).nth(2).unwrap().to_owned();
        let superuser = database.client().await;
        let name = superuser.query_one("select current_database()::text", &[]).await.unwrap().get(0);
        Self { login, name, store: store_of(&url), url, superuser, database }
    }

    /// As an administrator would.
    async fn run(&self, statement: &str) {
        self.superuser.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    /// The same of statements about roles, which another test may make or change at the same moment.
    async fn run_all(&self, statements: &[String]) {
        for statement in statements {
            if statement.contains("role ") || statement.starts_with("grant analytics_refresher") {
                let _ = self.superuser.batch_execute(statement).await;
            } else {
                self.run(statement).await;
            }
        }
    }

    async fn access(&self, flavour: Flavour) -> Access {
        Examination::new(&self.store, Duration::from_secs(30)).access(flavour).await.unwrap()
    }

    /// Logins that own something cannot be dropped.
    async fn end(self) {
        let Self { name, login, .. } = &self;
        self.run(&format!("alter database {name} owner to current_user")).await;
        self.run(&format!("reassign owned by {login} to current_user; drop owned by {login}")).await;
        drop(self.database);
    }
}

/// Everything that daemon and command line do.
async fn lives(store: &Store) {
    let first = hour("2015-05-17T10:00:00Z");
    let mut writer = writer(store);
    writer.prove().await.unwrap();
    store_all(&mut writer, &[click("2015-05-17T10:05:00Z", "anna"), impression("2015-05-17T10:06:00Z", "ben")]).await;
    let keyed =
        Submission::new(vec![impression("2015-05-17T10:07:00Z", "anna")], Some(IdempotencyKey::new("k").unwrap()));
    assert_eq!(writer.ingest_once(&keyed.events, &Claim::all_of(&keyed), &[]).await.unwrap(), Ingested::Stored);
    settle(store, first).await;
    assert_eq!(store.counts(&[first]).await.unwrap(), [counts(2, 1, 2)]);
    store_all(&mut writer, &[click("2015-05-17T10:08:00Z", "carl")]).await;
    assert_eq!(store.counts(&[first]).await.unwrap(), [counts(3, 2, 2)], "it was reopened");
    settle(store, first).await;
    let elected = settler(store).await;
    let united = elected.unite_days(1).await.unwrap();
    elected.make_room_ahead().await.unwrap();
    elected.forget_idle_writers().await.unwrap();
    drop(elected);
    assert_eq!(united, 1);
    let told = store.range_counts(SiteId::NAMELESS, &(first.hour..=first.hour)).await.unwrap();
    assert_eq!((told.hours.len(), told.unique_users), (1, UniqueUsers::Exactly(3)));

    let auditor = Auditor::connect(store).await.unwrap();
    assert_eq!(
        auditor.forget(&UserName::new("carl").unwrap(), first).await.unwrap(),
        Forgotten { deleted: 1, rebuilt: true }
    );
    auditor.repair(first, false).await.unwrap();
    let all = hour("1970-01-01T00:00:00Z").hour..=hour("2030-01-01T00:00:00Z").hour;
    for part in auditor.parts(&all).await.unwrap() {
        for audited in auditor.audit(&part, None).await.unwrap() {
            assert_eq!(audited.differences(), [], "{audited:?}");
        }
    }
    assert_counts_equal_brute_force(store).await;
    settle(store, first).await;

    let issued = IssuedToken::secret([1; IssuedToken::RANDOM_BYTES]);
    let scopes = Scopes::from_iter([Scope::Write]);
    let token = NewAccessToken::new(&issued, "shop".parse().unwrap(), scopes);
    assert!(AccessTokens(store).create(&token).await.unwrap());
    assert_eq!(AccessTokens(store).changed_since(None).await.unwrap().unwrap().tokens.len(), 1);

    let keep = Some(Duration::from_hours(24 * 365));
    let setting = Retention { keep, ..Retention::read(store).await.unwrap() };
    setting.write(store).await.unwrap();
    assert!(Retention::apply(store).await.unwrap().kept_from > first.hour.start().to_utc());
    assert_eq!(store.counts(&[first]).await.unwrap(), [counts(2, 1, 2)], "raw events are gone, counts are not");
    Retention { keep: None, ..setting }.write(store).await.unwrap();
    writer.retire().await.unwrap();
}

async fn a_login_that_owns_the_database_does_everything_without_roles(flavour: Flavour) {
    let owned = Owned::new(flavour).await;
    let Owned { login, name, store, .. } = &owned;
    let migrated = schema::migrate_and_choose(store, Some(flavour), Some(Use::OwnerAlone)).await.unwrap();
    assert_eq!((migrated.used, migrated.roles), (Use::OwnerAlone, Roles::default()));
    assert_eq!(schema::inspect(store).await.unwrap().complaint(), None);
    assert_eq!(schema::status(store).await.unwrap().roles, Some(Use::OwnerAlone));
    lives(store).await;

    // No role has any right, and none is asked for.
    let rights = "select count(*) from ( \
                      select proacl from pg_proc where pronamespace = 'analytics'::regnamespace \
                      union all select relacl from pg_class where relnamespace = 'analytics'::regnamespace \
                      union all select nspacl from pg_namespace where nspname = 'analytics' \
                  ) as o (acl), aclexplode(acl) as a where a.grantee <> $1::text::regrole";
    assert_eq!(owned.superuser.query_one(rights, &[login]).await.unwrap().get::<_, i64>(0), 0);
    let access = owned.access(flavour).await;
    assert_eq!((access.owner_alone.as_ref(), access.needed), (Some(login), Some(Vec::new())));
    let closes = format!("revoke connect, temporary on database {name} from public");
    assert_eq!(access.admission, std::slice::from_ref(&closes));
    // The owner of the database runs it.
    connect(&owned.url).await.batch_execute(&closes).await.unwrap();
    assert_eq!(owned.access(flavour).await.admission, Vec::<String>::new());
    writer(store).prove().await.unwrap();

    // What is recorded holds for whoever migrates, and what a superuser makes belongs to the owner too.
    owned.run("drop function analytics.register_writer; update analytics.schema_functions set checksum = ''").await;
    let migrated = schema::migrate(owned.database.store(), None).await.unwrap();
    assert_eq!((migrated.applied.len(), migrated.used, migrated.roles), (1, Use::OwnerAlone, Roles::default()));
    assert_eq!(owned.access(flavour).await.needed, Some(Vec::new()));
    writer(store).prove().await.unwrap();
    let again = schema::migrate(store, None).await.unwrap();
    assert_eq!((again.applied, again.used, again.roles), (Vec::new(), Use::OwnerAlone, Roles::default()));
    owned.end().await;
}

async fn a_login_that_owns_the_database_does_everything_with_the_roles_that_somebody_made(flavour: Flavour) {
    let owned = Owned::new(flavour).await;
    let lacking = schema::migrate(&owned.store, Some(flavour)).await.unwrap().roles.lacking;
    assert!(lacking.contains(&format!("grant analytics_owner to {}", owned.login)), "{lacking:?}");
    owned.run_all(&lacking).await;
    let migrated = schema::migrate(&owned.store, None).await.unwrap();
    assert_eq!((migrated.used, migrated.roles), (Use::Roles, Roles::default()));
    lives(&owned.store).await;
    let access = owned.access(flavour).await;
    assert_eq!((access.owner_alone, access.needed), (None, Some(Vec::new())));
    owned.end().await;
}

/// As of 2.29.2 TimescaleDB is an extension that PostgreSQL trusts: who may create in the database may create it.
async fn a_login_that_owns_the_database_makes_the_extension_itself_where_that_is_trusted(flavour: Flavour) {
    let owned = Owned::of_somebody_else(flavour).await;
    let is_trusted =
        "select coalesce(bool_or(trusted), false) from pg_available_extension_versions where name = 'timescaledb'";
    let is_trusted: bool = owned.superuser.query_one(is_trusted, &[]).await.unwrap().get(0);
    if flavour == Flavour::Postgres || !is_trusted {
        return owned.end().await;
    }
    owned.run(&format!("alter database {} owner to {}", owned.name, owned.login)).await;
    let migrated = schema::migrate_and_choose(&owned.store, None, Some(Use::OwnerAlone)).await.unwrap();
    assert_eq!((migrated.flavour, migrated.roles), (Flavour::Timescale, Roles::default()));
    lives(&owned.store).await;
    owned.end().await;
}

/// One answer has everything, and after that nothing more is lacking.
async fn what_a_login_lacks_is_told_at_once_in_the_order_in_which_it_is_run(flavour: Flavour) {
    let owned = Owned::of_somebody_else(flavour).await;
    let Owned { login, name, store, .. } = &owned;
    let without = async |roles| match schema::migrate_and_choose(store, Some(flavour), roles).await.unwrap_err() {
        SchemaError::Lacking { statements, way_round } => (statements, way_round),
        other => panic!("{other}"),
    };
    let mut first = vec![format!("grant create on database {name} to {login};")];
    if flavour == Flavour::Timescale {
        first.insert(0, "create extension if not exists timescaledb;".to_owned());
    }
    let (statements, way_round) = without(Some(Use::OwnerAlone)).await;
    assert_eq!(statements, first);
    assert!(!way_round.contains("roles"), "{way_round}");

    let (statements, way_round) = without(None).await;
    assert!(way_round.contains("`--without-roles`"), "{way_round}");
    assert_eq!(statements[..first.len()], first);
    let rest = &statements[first.len()..];
    assert!(rest.contains(&format!("grant analytics_owner to {login};")), "{rest:?}");
    let on_chunks = "grant create on schema _timescaledb_internal to analytics_owner, analytics_refresher;";
    assert_eq!(rest.last().is_some_and(|last| last == on_chunks), flavour == Flavour::Timescale, "{rest:?}");
    let there = "select to_regnamespace('analytics') is not null";
    assert!(!owned.superuser.query_one(there, &[]).await.unwrap().get::<_, bool>(0), "nothing was applied");

    owned.run_all(&statements).await;
    assert_eq!(schema::migrate(store, Some(flavour)).await.unwrap().roles, Roles::default());
    lives(store).await;
    owned.end().await;
}

/// An administrator may have made the schema beforehand, for itself.
async fn a_schema_that_belongs_to_somebody_else_is_given_by_one_statement(flavour: Flavour) {
    let owned = Owned::new(flavour).await;
    owned.run("create schema analytics").await;
    let choose = async || schema::migrate_and_choose(&owned.store, Some(flavour), Some(Use::OwnerAlone)).await;
    let error = choose().await.unwrap_err();
    let SchemaError::Lacking { statements, .. } = error else { panic!("{error}") };
    assert_eq!(statements, [format!("alter schema analytics owner to {};", owned.login)]);
    owned.run_all(&statements).await;
    assert_eq!(choose().await.unwrap().roles, Roles::default());
    owned.end().await;
}

async fn a_schema_goes_over_from_roles_to_none_and_back_with_what_is_in_it(flavour: Flavour) {
    let owned = Owned::new(flavour).await;
    let (admin, store, ten) = (owned.database.store(), &owned.store, hour("2015-05-17T10:00:00Z"));
    assert_eq!(schema::migrate(admin, Some(flavour)).await.unwrap().used, Use::Roles);
    let daemon = store_of(&owned.database.url_of_member(&[roles::DAEMON]).await);
    store_all(&mut writer(&daemon), &[click("2015-05-17T10:05:00Z", "anna")]).await;
    settle(&daemon, ten).await;

    // The login that everything is to belong to asks for it; what it may not do is told once.
    owned.run_all(&[format!("grant analytics_owner to {}", owned.login)]).await;
    let lacking = schema::migrate_and_choose(store, None, Some(Use::OwnerAlone)).await.unwrap().roles.lacking;
    assert_eq!(lacking.is_empty(), flavour == Flavour::Postgres, "only chunks are out of its reach: {lacking:?}");
    if !lacking.is_empty() {
        assert_eq!(schema::status(store).await.unwrap().roles, Some(Use::Roles), "it is not done yet");
        store_all(&mut writer(&daemon), &[click("2015-05-18T10:05:00Z", "anna")]).await;
    }
    owned.run_all(&lacking).await;
    let over = schema::migrate_and_choose(store, None, Some(Use::OwnerAlone)).await.unwrap();
    assert_eq!((over.used, over.roles), (Use::OwnerAlone, Roles::default()));
    owned.run_all(&[format!("revoke analytics_owner from {}", owned.login)]).await;
    assert_eq!(schema::status(store).await.unwrap().roles, Some(Use::OwnerAlone));
    let access = owned.access(flavour).await;
    assert_eq!((access.owner_alone.as_ref(), access.needed), (Some(&owned.login), Some(Vec::new())));
    store_all(&mut writer(store), &[click("2015-05-17T10:06:00Z", "ben")]).await;
    settle(store, ten).await;
    assert_eq!(store.counts(&[ten]).await.unwrap(), [counts(2, 2, 0)]);
    let shut_out = daemon.counts(&[ten]).await.unwrap_err();
    assert!(matches!(shut_out, StoreError::Forbidden(_)), "the roles have no rights any more: {shut_out}");

    let lacking = schema::migrate_and_choose(store, None, Some(Use::Roles)).await.unwrap().roles.lacking;
    assert!(lacking.contains(&format!("grant analytics_owner to {}", owned.login)), "{lacking:?}");
    owned.run_all(&lacking).await;
    let back = schema::migrate(store, None).await.unwrap();
    assert_eq!((back.used, back.roles), (Use::Roles, Roles::default()));
    assert_eq!(owned.access(flavour).await.needed, Some(Vec::new()));
    let daemon = store_of(&owned.database.url_of_member(&[roles::DAEMON]).await);
    store_all(&mut writer(&daemon), &[click("2015-05-17T10:07:00Z", "carl")]).await;
    settle(&daemon, ten).await;
    assert_eq!(daemon.counts(&[ten]).await.unwrap(), [counts(3, 3, 0)]);
    assert_counts_equal_brute_force(admin).await;
    owned.end().await;
}

/// What only a service has is made on a server without it, and seen by a login that may nothing.
#[tokio::test]
async fn a_service_is_recognized_by_any_login() {
    let dir = server_dir();
    let server = Embedded::start(&embedded_options(dir.path(), Flavour::Postgres)).await.unwrap();
    let superuser = connect(server.url()).await;
    superuser.batch_execute("create role poor login").await.unwrap();
    let database: String = superuser.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    let (_, place) = server.url().split_once('@').unwrap();
    let examination = Examination::new(&store_of(&format!("postgres://poor@{place}")), Duration::from_secs(30));
    let recognized = async || examination.platform().await.unwrap().service;
    assert_eq!(recognized().await, None);
    for (make, service) in [
        ("create role tsdbadmin", Service::TigerCloud),
        ("create role neon_superuser", Service::Neon),
        (&format!("alter database {database} set azure.extensions = 'hstore'"), Service::Azure),
        ("create role rds_superuser", Service::Rds),
    ] {
        superuser.batch_execute(make).await.unwrap();
        assert_eq!(recognized().await, Some(service), "{make}");
    }
    server.stop().await.unwrap();
}

with_logins!(
    a_login_that_owns_the_database_does_everything_without_roles,
    a_login_that_owns_the_database_does_everything_with_the_roles_that_somebody_made,
    a_login_that_owns_the_database_makes_the_extension_itself_where_that_is_trusted,
    what_a_login_lacks_is_told_at_once_in_the_order_in_which_it_is_run,
    a_schema_that_belongs_to_somebody_else_is_given_by_one_statement,
    a_schema_goes_over_from_roles_to_none_and_back_with_what_is_in_it,
);
