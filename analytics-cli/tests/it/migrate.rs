use chrono::{DateTime, Utc};
use db::Flavour;
use harness::{TestDatabase, on_both_flavours};

use crate::{Run, command};

on_both_flavours!(a_database_is_migrated_once_and_its_status_and_checksums_are_printed);

async fn run(database: &TestDatabase, arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.env("DATABASE_URL", database.url());
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

async fn a_database_is_migrated_once_and_its_status_and_checksums_are_printed(flavour: Flavour) {
    let database = TestDatabase::without_schema(flavour).await;
    let status = run(&database, &["migrate", "status"]).await;
    assert_eq!(status.code, 1, "everything is pending");
    assert!(status.stdout.contains("pending") && !status.stdout.contains("applied"), "{}", status.stdout);

    let up = run(&database, &["migrate", "up", "--flavour", flavour.as_str()]).await;
    assert_eq!(up.code, 0, "{}", up.stderr);
    assert!(up.stdout.contains(flavour.as_str()) || up.stderr.contains(flavour.as_str()), "the flavour is printed");

    let status = run(&database, &["migrate", "status"]).await;
    assert_eq!(status.code, 0);
    assert!(!status.stdout.contains("pending"), "{}", status.stdout);
    assert_eq!(run(&database, &["migrate", "verify"]).await.code, 0);
    assert_eq!(run(&database, &["verify", "--repair"]).await.code, 0, "again changes nothing");

    database
        .client()
        .await
        .batch_execute("update analytics.schema_history set checksum = '1' where version = 3")
        .await
        .unwrap();
    let verify = run(&database, &["migrate", "verify"]).await;
    assert_eq!(verify.code, 1);
    assert!(format!("{}{}", verify.stdout, verify.stderr).contains("events"), "the altered migration is named");
    let up = run(&database, &["verify", "--repair"]).await;
    assert_eq!(up.code, 2, "it could not run: {}", up.stderr);
    assert!(up.stderr.contains("migrate verify"), "{}", up.stderr);
}

#[tokio::test]
async fn retention_is_set_and_shown() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let shown = run(&database, &["retention", "show"]).await;
    assert_eq!(shown.stdout, "keep forever\ncolumnstore-after never\naccepts-events-from any time\n");
    let set = run(&database, &["retention", "set", "--keep", "400d"]).await;
    assert_eq!(set.code, 0, "{}", set.stderr);
    let shown = run(&database, &["retention", "show"]).await;
    let from = shown.stdout.strip_prefix("keep 400d\ncolumnstore-after never\naccepts-events-from ").unwrap();
    let from: DateTime<Utc> = from.trim_end().parse().unwrap();
    // The beginning of a day, in which this test may have ended.
    assert!((400..=401).contains(&(Utc::now() - from).num_days()), "{from}");
    run(&database, &["retention", "set", "--keep", "forever"]).await;
    let moved = "update analytics.settings set accepts_from = '2015-05-17T00:00:00Z'";
    database.client().await.batch_execute(moved).await.unwrap();
    let shown = run(&database, &["retention", "show"]).await;
    assert!(shown.stdout.ends_with("accepts-events-from 2015-05-17T00:00:00Z\n"), "{}", shown.stdout);
}

#[tokio::test]
async fn what_takes_the_owner_says_so_to_others_and_changes_nothing() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let client = database.client().await;
    client
        .batch_execute(
            "select analytics.make_room('{2015-05-17T10:00:00Z}'); \
             insert into analytics.events (at, kind, user_name) values ('2015-05-17T10:00:00Z', 'click', 'anna')",
        )
        .await
        .unwrap();
    let login = database.url_of_member(&[db::roles::READER]).await;
    for arguments in
        [&["retention", "set", "--keep", "400d"][..], &["forget", "anna", "--yes"], &["verify", "--repair"]]
    {
        let mut command = command(arguments);
        command.env("DATABASE_URL", &login);
        let run: Run = tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap();
        assert_ne!(run.code, 0, "{arguments:?}");
        assert!(run.stderr.contains("analytics_owner"), "{arguments:?}: {}", run.stderr);
    }
}

#[tokio::test]
async fn what_a_login_lacks_to_begin_with_is_printed_as_statements_and_nothing_is_made() {
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let url = database.url_of_member(&[]).await;
    let login = url.split(['/', '@']).nth(2).unwrap();
    let superuser = database.client().await;
    let name: String = superuser.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    let mut up = command(&["migrate", "up", "--flavour", "postgres", "--without-roles"]);
    up.env("DATABASE_URL", &url);
    let up: Run = tokio::task::spawn_blocking(move || up.output().unwrap().into()).await.unwrap();
    assert_eq!((up.code, up.stdout.as_str()), (1, ""));
    let statement = format!("\n    grant create on database {name} to {login};\n");
    assert!(up.stderr.contains(&statement) && !up.stderr.contains("role"), "{}", up.stderr);
}

#[tokio::test]
async fn migrating_exits_1_until_a_superuser_has_done_the_rest() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let url = database.url_of_member(&[]).await;
    let login = url.split(['/', '@']).nth(2).unwrap().to_owned();
    let superuser = database.client().await;
    // A database of its own with nothing in it yet.
    superuser.batch_execute("drop schema analytics cascade").await.unwrap();
    let name: String = superuser.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    superuser.batch_execute(&format!("alter database {name} owner to {login}")).await.unwrap();
    let migrate = async |arguments: &[&str]| -> Run {
        let mut command = command(arguments);
        command.env("DATABASE_URL", &url);
        tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
    };
    let up = &["migrate", "up", "--flavour", "postgres"];
    for _ in 0..2 {
        let run = migrate(up).await;
        assert_eq!(run.code, 1, "{}", run.stderr);
        let statement = format!("    grant analytics_owner to {login};");
        assert!(run.stderr.contains(&statement) && run.stderr.contains("--without-roles"), "{}", run.stderr);
    }
    let doctor = migrate(&["doctor"]).await;
    assert!(doctor.stdout.contains("owners or rights are not what daemons need"), "{}", doctor.stdout);

    // What is chosen once, later runs keep to.
    for arguments in [&["migrate", "up", "--without-roles"][..], up] {
        let run = migrate(arguments).await;
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert!(run.stdout.starts_with("flavour postgres, without roles\n"), "{}", run.stdout);
    }
    let status = migrate(&["migrate", "status"]).await;
    assert!(status.code == 0 && status.stdout.starts_with("flavour postgres, without roles\n"), "{}", status.stdout);
    assert_eq!(migrate(&["migrate", "verify"]).await.code, 0);
    superuser.batch_execute(&format!("revoke connect on database {name} from public")).await.unwrap();
    let doctor = migrate(&["doctor"]).await;
    let rights = format!("without roles: everything belongs to {login}, whose login the daemons use");
    assert!(doctor.stdout.contains(&rights) && !doctor.stdout.contains("analytics_owner"), "{}", doctor.stdout);
    let stranger = database.url_of_member(&[]).await;
    let of_stranger = stranger.split(['/', '@']).nth(2).unwrap();
    superuser.batch_execute(&format!("grant connect on database {name} to {of_stranger}")).await.unwrap();
    let mut refused = command(&["verify"]);
    refused.env("DATABASE_URL", &stranger);
    let refused: Run = tokio::task::spawn_blocking(move || refused.output().unwrap().into()).await.unwrap();
    assert!(refused.stderr.contains("without roles, the owner of the schema"), "{}", refused.stderr);
    superuser.batch_execute(&format!("revoke connect on database {name} from {of_stranger}")).await.unwrap();

    let run = migrate(&["migrate", "up", "--with-roles"]).await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    superuser.batch_execute(&format!("grant analytics_owner to {login}")).await.unwrap();
    let run = migrate(up).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("flavour postgres\n"), "{}", run.stdout);
    superuser.batch_execute(&format!("alter database {name} owner to current_user")).await.unwrap();
}
