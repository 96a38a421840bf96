//! What is wrong with a database is told as what it is, once, with what to do.

use std::{fs, path::PathBuf};

use db::{AccessTokens, Flavour, NewAccessToken, Store, StoreError, StoreOptions, schema};
use harness::{PrivateServer, TestDatabase};
use model::access::{IssuedToken, Scope};

use crate::support::{assert_counts_equal_brute_force, click, has_logins, hour, store_all, writer};

/// A server of its own, with a login `own` whose password is `right`, and the rules by which it lets people in.
struct Server {
    postgres: PrivateServer,
    client: tokio_postgres::Client,
    rules: PathBuf,
}

impl Server {
    async fn start() -> Self {
        let postgres = PrivateServer::start().await.unwrap();
        let client = postgres.client().await;
        client.batch_execute("create role own login password 'right' in role analytics_owner").await.unwrap();
        let rules = postgres.dir().join("native/data/pg_hba.conf");
        Self { postgres, client, rules }
    }

    /// Has the login come in by this rule alone.
    async fn let_in_by(&self, rule: &str) {
        let others = "local all analytics trust\n";
        fs::write(&self.rules, format!("{rule}\n{others}")).unwrap();
        self.client.batch_execute("select pg_reload_conf()").await.unwrap();
    }

    /// What comes of making a token as the login, with a URL in which something may be replaced.
    async fn told(&self, from: &str, to: &str) -> StoreError {
        let url =
            self.postgres.url().replacen("postgres://analytics@", "postgres://own:right@", 1).replacen(from, to, 1);
        let store = Store::new(&url, StoreOptions::default()).unwrap();
        let issued = IssuedToken::secret([1; IssuedToken::RANDOM_BYTES]);
        let scopes = [Scope::Write].into_iter().collect();
        let token = NewAccessToken::new(&issued, "x".parse().unwrap(), scopes);
        AccessTokens(&store).create(&token).await.unwrap_err()
    }
}

/// Checks what is said as a whole, and in its two parts.
fn check(error: &StoreError, what: &str, said: &str, remedy: &str) {
    let told = error.to_string();
    assert!(told.starts_with(what), "{told}");
    assert_eq!(told.matches(said).count(), 1, "{told}");
    assert!(told.contains(remedy) && !told.contains("db error"), "{told}");
    assert_eq!(db::describe(error), told, "nothing is told twice");
    let (seen, to_do) = error.parts();
    assert_eq!(format!("{seen}; {}", to_do.unwrap()), told);
}

/// Events would be stored where the extension does not find them when it is loaded again.
#[tokio::test]
async fn a_schema_of_timescaledb_is_not_worked_on_without_it() {
    let server = Server::start().await;
    let store = Store::new(server.postgres.url(), StoreOptions::default()).unwrap();
    // What only a schema with TimescaleDB has.
    server.client.batch_execute("create table analytics.foreign_chunks ()").await.unwrap();
    let refused = writer(&store).prove().await.unwrap_err();
    check(
        &refused,
        "TimescaleDB is installed, and the server does not load it",
        "must be preloaded",
        "restart the server",
    );
    let migrates = schema::migrate(&store, None).await.unwrap_err().to_string();
    assert!(migrates.contains("does not load it"), "{migrates}");
    assert!(store.counts(&[hour("2015-05-17T10:00:00Z")]).await.is_ok(), "counts are not among the raw events");
}

/// A server that tells logins apart is a native one.
#[tokio::test]
async fn nothing_is_stored_while_a_backup_is_restored_under_a_daemon() {
    if !has_logins(Flavour::Timescale) {
        eprintln!("SKIPPED: TEST_TIMESCALE_URL names no native server");
        return;
    }
    let database = TestDatabase::new(Flavour::Timescale).await;
    let mut before = writer(database.store());
    store_all(&mut before, &[click("2015-05-17T10:00:00Z", "anna")]).await;
    let client = database.client().await;
    client.batch_execute("select timescaledb_pre_restore()").await.unwrap();
    store_all(&mut before, &[click("2015-05-17T10:00:00Z", "ben")]).await;
    let store = Store::new(database.url(), StoreOptions::default()).unwrap();
    let refused = writer(&store).prove().await.unwrap_err().to_string();
    assert!(refused.contains("a backup is being restored"), "{refused}");
    client.batch_execute("select timescaledb_post_restore()").await.unwrap();
    store_all(&mut writer(&store), &[click("2015-05-17T10:00:00Z", "carl")]).await;
    assert_counts_equal_brute_force(&store).await;
}

#[tokio::test]
async fn what_keeps_a_login_out_is_told_as_what_it_is() {
    let server = Server::start().await;
    server.let_in_by("local all own scram-sha-256").await;
    let failed = "password authentication failed";
    check(&server.told(":right@", ":wrong@").await, "the server does not accept the password", failed, "in the URL");
    check(&server.told(":right@", "@").await, "the server asks for a password, and none was given", "asks for", "URL");
    let no_database = "database \"nothing\" does not exist";
    check(&server.told("/analytics?", "/nothing?").await, "there is no such database", no_database, "create database");
    server.let_in_by("hostssl all own all scram-sha-256").await;
    check(
        &server.told("", "").await,
        "the server does not let this login in from here",
        "no pg_hba.conf entry",
        "written into pg_hba.conf",
    );
    server.let_in_by("local all own scram-sha-256").await;
    server.client.batch_execute("alter role own connection limit 0").await.unwrap();
    check(&server.told("", "").await, "the server has no connection left", "too many connections", "max_connections");
}

#[tokio::test]
async fn a_database_that_is_read_only_is_told_as_that() {
    let server = Server::start().await;
    server.client.batch_execute("alter role own set default_transaction_read_only = on").await.unwrap();
    let told = server.told("", "").await;
    check(&told, "the database is read-only", "read-only transaction", "default_transaction_read_only = off");
    assert!(told.is_outage(), "what could not be stored may be stored later");
}
