//! Sites, on the real daemon.

use db::{AccessTokens, Flavour, NewAccessToken, Sites};
use harness::{Daemon, TestDatabase};
use model::access::{IssuedToken, Scope};
use serde_json::Value;

use crate::{load, loadtest, result_of};

const ARGUMENTS: [&str; 8] = ["--run-time", "1s", "--batch-share", "0.1", "--batch-size", "5", "--max-error-rate", "0"];

#[tokio::test]
async fn each_site_is_counted_by_itself_and_the_report_names_it() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for site in ["shop", "blog"] {
        Sites(database.store()).create(&site.parse().unwrap(), None).await.unwrap();
    }
    let reports = tempfile::tempdir().unwrap();
    let dir = reports.path().to_str().unwrap();
    let more = ["--site-names", "shop,blog", "--freshness-every", "10", "--report-dir", dir];
    let (code, printed) = result_of(&load(daemon.url(), &[&ARGUMENTS[..], &more].concat()).await);
    assert_eq!(code, Some(0), "{printed}");
    let report: Value = serde_json::from_slice(&std::fs::read(reports.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["runs"][0]["settings"]["mix"]["sites"], serde_json::json!(["shop", "blog"]));
    let hours = report["ledger"]["hours"].as_array().unwrap();
    for site in ["shop", "blog"] {
        assert!(hours.iter().any(|hour| hour["site"] == site), "{report}");
    }
    let stored: u64 = database.store().stored_events().await.unwrap().iter().map(|(.., count)| count).sum();
    assert_eq!(report["ledger"]["acknowledged"], stored);
}

#[tokio::test]
async fn an_unknown_site_is_named_with_what_makes_it() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let (code, printed) = result_of(&load(daemon.url(), &["--run-time", "1s", "--sites", "2"]).await);
    assert_eq!(code, Some(2), "{printed}");
    for part in ["no site load-1", "analytics-cli site create load-1", "--new-sites"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(!printed.contains(".."), "{printed}");
}

#[tokio::test]
async fn a_daemon_that_makes_sites_of_events_has_them_before_the_run() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let issued = IssuedToken::secret([7; IssuedToken::RANDOM_BYTES]);
    let token =
        NewAccessToken::new(&issued, "load".parse().unwrap(), [Scope::Write, Scope::Read].into_iter().collect());
    assert!(AccessTokens(database.store()).create(&token).await.unwrap());
    let daemon = Daemon::start_with(["--database-url", database.url(), "--new-sites", "10"]).await;
    let mut command = loadtest();
    command.args(["--host", daemon.url(), "--users", "4", "--sites", "3"]).args(ARGUMENTS);
    let (code, printed) = result_of(&command.env("ANALYTICS_TOKEN", &issued.text).output().await.unwrap());
    assert_eq!(code, Some(0), "{printed}");
}
