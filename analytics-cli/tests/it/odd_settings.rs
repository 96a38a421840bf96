//! Settings of a database or a login, as `alter database … set` and `alter role … set` make them, which are for other programs.

use db::{Flavour, roles};
use harness::{Daemon, TestDatabase, on_both_flavours};
use serde_json::Value;

use crate::{Run, command};

on_both_flavours!(
    what_is_set_for_a_database_changes_nothing_that_is_done_or_told,
    what_is_set_for_a_login_changes_nothing_that_is_done_or_told,
);

const ODD: &[&str] = &[
    "bytea_output = escape",
    "client_encoding = 'LATIN1'",
    "client_min_messages = error",
    "datestyle = 'SQL, DMY'",
    "default_transaction_deferrable = on",
    "default_transaction_isolation = serializable",
    "extra_float_digits = -15",
    "idle_in_transaction_session_timeout = '500ms'",
    "intervalstyle = sql_standard",
    "lock_timeout = '1ms'",
    "quote_all_identifiers = on",
    "row_security = off",
    "search_path = analytics, pg_temp, pg_catalog",
    "standard_conforming_strings = off",
    "statement_timeout = '500ms'",
    "timezone = 'Asia/Kathmandu'",
];

/// In WebAssembly everybody is the superuser, in one session.
fn has_logins(flavour: Flavour) -> bool {
    flavour == Flavour::Postgres || std::env::var_os("TEST_TIMESCALE_URL").is_some()
}

async fn run(daemon: &Daemon, url: &str, arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.env("DATABASE_URL", url).env("ANALYTICS_SERVER", daemon.url());
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// What the commands say, without what differs from one run to the next.
async fn told(daemon: &Daemon, url: &str) -> Vec<String> {
    let doctor = run(daemon, url, &["doctor", "--format", "json"]).await;
    let report: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let lines = report["checks"].as_array().unwrap().iter().map(|finding| {
        let is_clock = finding["check"].as_str().unwrap().ends_with(" clock");
        let seen = finding["seen"].as_str().unwrap().replace(daemon.url(), "SERVER");
        let seen = if is_clock || finding["check"] == "both clocks" { String::new() } else { seen };
        format!("{} {} {seen}; {}", finding["health"], finding["check"], finding["advice"])
    });
    let mut told: Vec<String> = lines.collect();
    for arguments in [
        &["migrate", "status"][..],
        &["migrate", "verify"],
        &["migrate", "up"],
        &["verify"],
        &["retention", "set", "--keep", "400d"],
        &["retention", "show"],
        &["site", "list"],
        &["token", "list"],
        &["query", "--at", "now"],
    ] {
        let Run { code, stdout, stderr } = run(daemon, url, arguments).await;
        told.push(format!("{arguments:?}: {code}\n{stdout}{stderr}"));
    }
    told
}

/// Waits until the daemon has become the settler of its database.
async fn elected(database: &TestDatabase) {
    let client = database.client().await;
    client.batch_execute("set statement_timeout = 0; set search_path = pg_catalog").await.unwrap();
    let settler = "select exists (select from pg_locks where locktype = 'advisory' and classid = analytics.lock_class('settler')::oid)";
    while !client.query_one(settler, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
}

/// `what` is altered by the statements `… set SETTING`, for an owner's and a daemon's login.
async fn changes_nothing(flavour: Flavour, what: impl Fn(&str, &str) -> String) {
    let database = TestDatabase::new(flavour).await;
    let (owner, login) = if has_logins(flavour) {
        (database.url_of_member(&[roles::OWNER]).await, database.url_of_member(&[roles::DAEMON]).await)
    } else {
        (database.url().to_owned(), database.url().to_owned())
    };
    let send = ["send", "--user", "anna", "--event", "click"];
    let daemon = Daemon::start(&login).await;
    elected(&database).await;
    assert_eq!(run(&daemon, &owner, &send).await.code, 0);
    let before = told(&daemon, &owner).await;
    drop(daemon);

    let client = database.client().await;
    let name: String = client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    for url in [&owner, &login] {
        let set = what(&name, url.split(['/', '@']).nth(2).unwrap());
        // A client says its encoding when it connects.
        let odd = ODD.iter().filter(|odd| has_logins(flavour) || !odd.starts_with("client_encoding"));
        let statements: Vec<String> = odd.map(|odd| format!("{set} {odd}; ")).collect();
        client.batch_execute(&statements.concat()).await.unwrap();
    }
    let daemon = Daemon::start(&login).await;
    elected(&database).await;
    for (before, after) in before.iter().zip(told(&daemon, &owner).await) {
        assert_eq!(*before, after);
    }
    assert_eq!(run(&daemon, &owner, &send).await.code, 0);
}

/// The one session that there is in WebAssembly does not learn what its database is set to.
async fn what_is_set_for_a_database_changes_nothing_that_is_done_or_told(flavour: Flavour) {
    let what = |name: &str| if has_logins(flavour) { format!("alter database {name} set") } else { "set".to_owned() };
    changes_nothing(flavour, |name, _| what(name)).await;
}

async fn what_is_set_for_a_login_changes_nothing_that_is_done_or_told(flavour: Flavour) {
    if !has_logins(flavour) {
        eprintln!("SKIPPED: TEST_TIMESCALE_URL names no server that tells logins apart");
        return;
    }
    changes_nothing(flavour, |_, login| format!("alter role {login} set")).await;
}

#[tokio::test]
async fn a_setting_that_lets_daemons_store_nothing_is_a_problem() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (owner, login) =
        (database.url_of_member(&[roles::OWNER]).await, database.url_of_member(&[roles::DAEMON]).await);
    let _daemon = Daemon::start(&login).await;
    let client = database.client().await;
    let name: String = client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    let login = login.split(['/', '@']).nth(2).unwrap();
    let looker = owner.split(['/', '@']).nth(2).unwrap();
    for (statement, health, told) in [
        // What somebody set for a login that only looks keeps no daemon from storing.
        (format!("alter role {looker} set default_transaction_read_only = on"), "ok", "no setting"),
        (format!("alter role {login} set default_transaction_read_only = 'yes'"), "problem", login),
        (format!("alter role {login} in database {name} set default_transaction_read_only = off"), "ok", "no setting"),
        (format!("alter database {name} set default_transaction_read_only = on"), "problem", "every login"),
    ] {
        client.batch_execute(&statement).await.unwrap();
        let mut command = command(&["doctor", "--format", "json"]);
        command.env("DATABASE_URL", &owner).env("ANALYTICS_SERVER", "http://127.0.0.1:9");
        let run: Run = tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap();
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        let found = report["checks"].as_array().unwrap().iter().find(|it| it["check"] == "writes").unwrap();
        assert_eq!(found["health"], health, "{statement}: {found}");
        assert!(found["seen"].as_str().unwrap().contains(told), "{statement}: {found}");
    }
}
