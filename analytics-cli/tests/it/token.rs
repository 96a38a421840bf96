use db::Flavour;
use harness::{Daemon, TestDatabase};
use serde_json::Value;

use crate::{Run, command};

async fn run(database: &TestDatabase, arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.env("DATABASE_URL", database.url());
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// The tokens as they are listed.
async fn listed(database: &TestDatabase) -> Vec<Value> {
    let list = run(database, &["token", "list", "--format", "json"]).await;
    assert_eq!(list.code, 0, "{}", list.stderr);
    serde_json::from_str(&list.stdout).unwrap()
}

#[tokio::test]
async fn a_token_is_shown_once_and_listed_without_its_secret_until_it_is_revoked_and_after() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let made = run(&database, &["token", "create", "shop import", "--scope", "write,read", "--expires", "90d"]).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let token = made.stdout.strip_suffix('\n').unwrap();
    assert!(
        token.starts_with("an_") && !token.contains(char::is_whitespace),
        "standard output has nothing else: {token:?}"
    );
    assert!(!made.stderr.contains(token));

    let list = listed(&database).await;
    let [one] = &list[..] else { panic!("{list:?}") };
    assert_eq!((&one["name"], &one["state"]), (&"shop import".into(), &"valid".into()));
    assert_eq!(one["scopes"], serde_json::json!(["write", "read"]));
    assert!(one["key"].is_null(), "what a page may show is not what a secret token is");
    let id = one["id"].as_str().unwrap();
    assert!(token.contains(id));
    let secret = token.strip_prefix(&format!("an_{id}_")).unwrap();
    for format in ["json", "table"] {
        assert!(!run(&database, &["token", "list", "--format", format]).await.stdout.contains(secret));
    }

    let again = run(&database, &["token", "create", "shop import", "--scope", "read"]).await;
    assert_eq!((again.code, again.stdout.as_str()), (1, ""), "the name is taken");
    assert_eq!(run(&database, &["token", "revoke", id]).await.code, 0);
    assert_eq!(run(&database, &["token", "revoke", "shop import"]).await.code, 1, "it is revoked already");
    assert_eq!(
        run(&database, &["token", "create", "shop import", "--scope", "read"]).await.code,
        0,
        "the name is free"
    );
    assert_eq!(run(&database, &["token", "revoke", "shop import"]).await.code, 0);
    assert!(listed(&database).await.iter().all(|token| token["state"] == "revoked"));
}

#[tokio::test]
async fn the_first_token_comes_with_the_message_that_every_daemon_now_requires_tokens() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let has_message = async |name| {
        let made = run(&database, &["token", "create", name, "--scope", "write"]).await;
        assert_eq!(made.code, 0, "{}", made.stderr);
        made.stderr.contains("this is the first token: from now on every daemon of this database requires a token")
    };
    assert!(has_message("first").await);
    assert!(!has_message("second").await);
    for name in ["first", "second"] {
        assert_eq!(run(&database, &["token", "revoke", name]).await.code, 0);
    }
    assert!(!has_message("third").await, "the daemons ask for one already");
}

#[tokio::test]
async fn a_public_key_is_listed_with_its_origins_and_can_be_read_there_again() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let arguments = [
        "token",
        "create",
        "shop",
        "--public",
        "--origin",
        "https://Shop.example:443",
        "--origin",
        "http://localhost:3000",
    ];
    let key = run(&database, &arguments).await.stdout;
    assert!(key.starts_with("pk_"), "{key}");
    let table = run(&database, &["token", "list"]).await.stdout;
    assert!(table.contains(key.trim_end()) && table.contains("https://shop.example,http://localhost:3000"), "{table}");
    let [one] = &listed(&database).await[..] else { panic!("one key") };
    assert_eq!((&one["key"], &one["public"]), (&key.trim_end().into(), &true.into()));
    assert_eq!(format!("pk_{}", one["id"].as_str().unwrap()), key.trim_end());
}

/// The command line is given the token in each of the ways that it takes one.
#[tokio::test]
async fn a_token_that_was_made_opens_the_daemon_to_the_command_line() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let token = run(&database, &["token", "create", "cli", "--scope", "write,read"]).await.stdout.trim_end().to_owned();
    let ask = async |token: Option<&str>| {
        let mut command = command(&["send", "--user", "anna", "--event", "click", "--server", daemon.url()]);
        command.envs(token.map(|token| ("ANALYTICS_TOKEN", token)));
        tokio::task::spawn_blocking(move || Run::from(command.output().unwrap())).await.unwrap()
    };
    while ask(Some(&token)).await.code != 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let refused = ask(None).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("--token"), "{}", refused.stderr);
    let refused = ask(Some(&format!("{token}x"))).await;
    assert!(refused.code != 0 && !refused.stderr.contains(&token), "{}", refused.stderr);
}
