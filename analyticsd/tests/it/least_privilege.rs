use db::{Flavour, roles};
use harness::{Daemon, TestDatabase, server_dir};
use reqwest::StatusCode;

use crate::support::{at, counts};

/// The daemon's other work; `db` tests storing and counting with such a login.
#[tokio::test]
async fn a_daemon_with_the_least_privileged_login_serves_everything() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let login = database.url_of_member(&[roles::DAEMON]).await;
    let spool = server_dir();
    let spool = spool.path().join("spool");
    let arguments = ["--database-url", login.as_str(), "--settle-after", "0s", "--spool", spool.to_str().unwrap()];
    let daemon = Daemon::start_with(arguments).await;

    let hour = at("2015-05-17T10:00:00Z");
    assert_eq!(daemon.post(hour, "anna", "click").await, StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(hour).await, counts(1, 1, 0));
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
    assert_eq!(daemon.get("/analytics.gif").await.status(), StatusCode::OK);
    let range = "/analytics/hours?from=2015-05-17T10:00:00Z&to=2015-05-17T11:00:00Z";
    let hours = daemon.get(range).await.text().await.unwrap();
    assert!(hours.contains("\"unique_users\":1,\"next\""), "{hours}");
    assert!(daemon.terminate().await.success());
}
