use std::{os::unix::fs::PermissionsExt, path::Path};

use chrono::Utc;
use db::{Flavour, Retention, Store, StoreOptions, embedded::Embedded, schema};
use harness::{Daemon, embedded_options, server_dir};
use reqwest::StatusCode;
use tempfile::TempDir;

use crate::support::{at, counts};

/// A database that can become unavailable, and a folder for a spool.
pub(crate) struct Away {
    pub(crate) dir: TempDir,
    server: Option<Embedded>,
    url: String,
}

impl Away {
    /// With the database available.
    pub(crate) async fn not_yet() -> Self {
        let dir = server_dir();
        let server = Embedded::start(&embedded_options(dir.path(), Flavour::Postgres)).await.unwrap();
        schema::migrate(&store(server.url()), None).await.unwrap();
        Self { url: server.url().to_owned(), server: Some(server), dir }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn go(&mut self) {
        self.server.take().unwrap().stop().await.unwrap();
    }

    pub(crate) async fn come_back(&mut self) {
        self.server = Some(Embedded::start(&embedded_options(self.dir.path(), Flavour::Postgres)).await.unwrap());
    }

    /// A daemon with a spool and --allow-anonymous, so that it does not need to read tokens.
    pub(crate) async fn daemon(&self, more: &[&str]) -> Daemon {
        let arguments: Vec<_> = more.iter().copied().chain(["--allow-anonymous"]).collect();
        self.daemon_that_may_close(&arguments).await
    }

    /// The same without --allow-anonymous.
    pub(crate) async fn daemon_that_may_close(&self, more: &[&str]) -> Daemon {
        self.daemon_with_spool(&self.dir.path().join("spool"), more).await
    }

    pub(crate) async fn daemon_with_spool(&self, spool: &Path, more: &[&str]) -> Daemon {
        let spool = spool.display().to_string();
        let arguments = ["--database-url", &self.url, "--spool", &spool, "--admin-listen", "127.0.0.1:0"];
        Daemon::start_with(arguments.iter().chain(more)).await
    }
}

fn store(url: &str) -> Store {
    Store::new(url, StoreOptions::default()).unwrap()
}

pub(crate) async fn until_replayed(daemon: &Daemon) {
    while daemon.metric("analyticsd_spooled_requests").await != Some(0.0) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn while_the_database_is_away_events_get_202_and_are_counted_when_it_is_back() {
    let mut database = Away::not_yet().await;
    let daemon = database.daemon(&[]).await;
    let (now, late) = (Utc::now(), at("2015-05-17T10:00:00Z"));
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
    database.go().await;

    assert_eq!(daemon.post(now, "ben", "click").await, StatusCode::ACCEPTED);
    assert_eq!(daemon.post(late, "ben", "impression").await, StatusCode::ACCEPTED);
    let lines =
        format!("{{\"timestamp\":{},\"user\":\"carl\",\"event\":\"click\"}}\n", now.timestamp_millis()).repeat(3);
    assert_eq!(daemon.post_batch(lines).await.status(), StatusCode::ACCEPTED);
    assert_eq!(daemon.post(now, "", "click").await, StatusCode::BAD_REQUEST, "bad input is refused as ever");
    assert_eq!(daemon.metric("analyticsd_spooled_requests").await, Some(3.0));
    let asked = daemon.get(&format!("/analytics?timestamp={}", now.timestamp_millis())).await;
    assert_eq!(asked.status(), StatusCode::SERVICE_UNAVAILABLE, "a count would not be exact");

    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(daemon.counts(now).await, counts(3, 5, 0));
    assert_eq!(daemon.counts(late).await, counts(1, 0, 1));
    while daemon.post(now, "dora", "click").await != StatusCode::NO_CONTENT {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn spooled_events_survive_a_kill_and_a_start_without_a_database() {
    let mut database = Away::not_yet().await;
    database.go().await;
    let daemon = database.daemon(&[]).await;
    let now = Utc::now();
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::ACCEPTED);
    daemon.kill().await;
    let daemon = database.daemon(&[]).await;
    assert_eq!(daemon.post(now, "ben", "click").await, StatusCode::ACCEPTED);
    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(daemon.counts(now).await, counts(2, 2, 0));
    assert!(daemon.terminate().await.success());
}

#[tokio::test]
async fn a_spool_that_is_full_refuses_with_503() {
    let mut database = Away::not_yet().await;
    let daemon = database.daemon(&["--spool-size", "200"]).await;
    database.go().await;
    let now = Utc::now();
    let mut spooled = 0;
    loop {
        match daemon.post(now, &format!("user-{spooled}"), "click").await {
            StatusCode::ACCEPTED => spooled += 1,
            StatusCode::SERVICE_UNAVAILABLE => break,
            other => panic!("{other}"),
        }
    }
    assert!((1..10).contains(&spooled), "{spooled} requests went into 200 bytes");
    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(daemon.counts(now).await, counts(spooled, spooled, 0), "the refused event is not stored");
}

#[tokio::test]
async fn requests_that_can_never_be_stored_are_kept_in_a_file_and_hold_up_no_others() {
    let mut database = Away::not_yet().await;
    let daemon = database.daemon(&[]).await;
    let (now, old) = (Utc::now(), at("2015-05-17T10:00:00Z"));
    let under_key = async |user: &str| {
        let query = format!("timestamp={}&user={user}&event=click&id=k", now.timestamp_millis());
        let sent = reqwest::Client::new().post(format!("{}/analytics?{query}", daemon.url())).send().await;
        sent.unwrap().status()
    };
    let keep = Some(std::time::Duration::from_hours(24));
    Retention { keep, columnstore_after: None }.write(&store(&database.url)).await.unwrap();
    Retention::apply(&store(&database.url)).await.unwrap();
    assert_eq!(under_key("anna").await, StatusCode::NO_CONTENT);
    database.go().await;

    assert_eq!(daemon.post(old, "too-old", "click").await, StatusCode::ACCEPTED);
    assert_eq!(under_key("anna").await, StatusCode::ACCEPTED);
    assert_eq!(under_key("conflict").await, StatusCode::ACCEPTED);
    assert_eq!(daemon.post(now, "ben", "click").await, StatusCode::ACCEPTED);
    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(
        daemon.counts(now).await,
        counts(2, 2, 0),
        "the repeated one counts once, the conflicting one not at all"
    );
    assert_eq!(daemon.metric("analyticsd_spool_rejected_requests_total").await, Some(2.0));
    let rejected = std::fs::read_to_string(database.dir.path().join("spool/rejected.ndjson")).unwrap();
    assert!(rejected.contains("too-old") && rejected.contains("conflict") && !rejected.contains("ben"), "{rejected}");
}

#[tokio::test]
async fn only_the_daemons_user_may_read_visitors_data_on_disk() {
    let mut database = Away::not_yet().await;
    let keep = Some(std::time::Duration::from_hours(24));
    Retention { keep, columnstore_after: None }.write(&store(&database.url)).await.unwrap();
    Retention::apply(&store(&database.url)).await.unwrap();
    let folder = database.dir.path().join("above/spool");
    // The umask of a shell; a unit of systemd may set another.
    let mut command = harness::bare_command(Path::new("sh"));
    command.args(["-c", "umask 022 && exec \"$0\" \"$@\""]).arg(Daemon::command().as_std().get_program());
    command.args(["--database-url", &database.url, "--admin-listen", "127.0.0.1:0", "--allow-anonymous", "--spool"]);
    command.arg(&folder);
    let daemon = Daemon::start_command(command).await;
    database.go().await;
    assert_eq!(daemon.post(at("2015-05-17T10:00:00Z"), "too-old", "click").await, StatusCode::ACCEPTED);
    database.come_back().await;
    until_replayed(&daemon).await;

    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(folder.parent().unwrap()), mode(&folder)], [0o700, 0o700]);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let modes: Vec<_> = files.iter().map(|path| (path.file_name().unwrap().to_str().unwrap(), mode(path))).collect();
    assert_eq!(modes, [("access.json", 0o600), ("rejected.ndjson", 0o600), ("spool.redb", 0o600)]);
}
