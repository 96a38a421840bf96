//! Events from web pages: by the pixel, and as the script sends them.

use db::{AccessTokens, Flavour, NewAccessToken};
use harness::{Daemon, TestDatabase};
use model::access::{IssuedToken, Scope};

use crate::{
    liar::{Liar, Lie},
    load, loadtest, result_of,
};

const ARGUMENTS: [&str; 8] =
    ["--run-time", "2s", "--pixel-share", "0.3", "--script-share", "0.5", "--max-error-rate", "0"];

#[tokio::test]
async fn pixels_and_scripts_are_kinds_of_requests_that_gates_select() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let gates = ["--max-p99-ms", "pixel=5000", "--max-p99-ms", "script-past=0"];
    let (code, printed) = result_of(&load(daemon.url(), &[&ARGUMENTS[..], &gates].concat()).await);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("PIXEL current") && printed.contains("SCRIPT current"), "{printed}");
    assert!(printed.contains("ok     ledger") && printed.contains("ok     reads"), "{printed}");
    let line = |gate: &str| printed.lines().find(|line| line.contains(gate)).unwrap_or_default().to_owned();
    assert!(line("of PIXEL").starts_with("ok") && line("of SCRIPT past").starts_with("FAILED"), "{printed}");
}

#[tokio::test]
async fn a_daemon_that_asks_for_tokens_takes_pages_with_a_public_key_from_its_origin_and_no_other() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let secret = IssuedToken::secret([7; IssuedToken::RANDOM_BYTES]);
    let scopes = [Scope::Write, Scope::Read].into_iter().collect();
    let token = NewAccessToken::new(&secret, "load".parse().unwrap(), scopes);
    assert!(AccessTokens(database.store()).create(&token).await.unwrap());
    let public = IssuedToken::public([8; IssuedToken::RANDOM_BYTES]);
    let mut key = NewAccessToken::new(&public, "pages".parse().unwrap(), [Scope::Write].into_iter().collect());
    key.origins = vec!["https://shop.example".parse().unwrap()];
    assert!(AccessTokens(database.store()).create(&key).await.unwrap());
    let daemon = Daemon::start(database.url()).await;
    let run = async |origin| {
        let mut command = loadtest();
        command.args(["--host", daemon.url(), "--users", "4", "--public-key", &public.text, "--origin", origin]);
        result_of(&command.args(ARGUMENTS).env("ANALYTICS_TOKEN", &secret.text).output().await.unwrap())
    };
    let (code, printed) = run("https://shop.example").await;
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = run("https://other.example").await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("SCRIPT current was answered 403") && printed.contains("PIXEL current was"), "{printed}");
    assert!(printed.contains("ok     ledger"), "{printed}");
}

#[tokio::test]
async fn one_event_of_a_page_that_is_lost_is_found() {
    for shares in [["--pixel-share", "1"], ["--script-share", "1"]] {
        let liar = Liar::start(Lie::LosesOne(300)).await;
        let arguments = [&["--run-time", "2s"][..], &shares].concat();
        let (code, printed) = result_of(&load(&liar.url, &arguments).await);
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("FAILED ledger") && printed.contains(": 1 missing"), "{printed}");
        assert!(!printed.contains("POST"), "{printed}");
    }
}
