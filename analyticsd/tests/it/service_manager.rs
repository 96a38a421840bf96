//! Reads the daemon's notifications for systemd, on a socket like systemd's.

use std::time::Duration;

use chrono::Utc;
use db::Flavour;
use harness::{Daemon, PrintedLog, TestDatabase};
use reqwest::StatusCode;
use tokio::{
    net::UnixDatagram,
    process::Command,
    time::{Instant, timeout},
};

use crate::unwritable_log::full_pipe;

/// How long the service manager waits for a sign of life.
const PATIENCE: Duration = Duration::from_secs(2);

/// Listens like a service manager.
struct ServiceManager {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl ServiceManager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        Self { socket, dir }
    }

    /// The daemon's command, with this service manager and its watchdog of two seconds.
    fn command(&self) -> Command {
        let mut command = Daemon::command();
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify")).env("WATCHDOG_USEC", "2000000");
        command.env_remove("WATCHDOG_PID");
        command
    }

    /// The next notification.
    async fn next_notification(&self) -> String {
        let mut message = [0; 4096];
        let received = timeout(Duration::from_mins(1), self.socket.recv(&mut message)).await;
        let length = received.expect("a notification comes").unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Waits for this line, and returns the whole notification.
    async fn notification_with(&self, line: &str) -> String {
        loop {
            let message = self.next_notification().await;
            if message.lines().any(|one| one == line) {
                return message;
            }
        }
    }
}

#[tokio::test]
async fn the_daemon_notifies_that_it_serves_is_alive_and_stops() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let manager = ServiceManager::new();
    let mut command = manager.command();
    command.args(["--listen", "127.0.0.1:0", "--database-url", database.url()]);
    command.stdout(std::process::Stdio::null()).kill_on_drop(true);
    let (mut process, _log) = PrintedLog::spawn(command).unwrap();

    assert!(manager.next_notification().await.starts_with("STATUS=waiting for the database "));
    let ready = manager.notification_with("READY=1").await;
    let url = ready.lines().find_map(|line| line.strip_prefix("STATUS=serving ")).expect("the status has the URL");
    assert_eq!(reqwest::get(format!("{url}/readyz")).await.unwrap().status(), StatusCode::OK, "{ready}");
    manager.notification_with("WATCHDOG=1").await;
    manager.notification_with("WATCHDOG=1").await;

    let pid = process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    manager.notification_with("STOPPING=1").await;
    assert!(process.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_daemon_that_refuses_its_database_never_notifies_that_it_is_ready() {
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let manager = ServiceManager::new();
    let mut command = manager.command();
    command.args(["--listen", "127.0.0.1:0", "--database-url", database.url()]);
    assert_eq!(command.output().await.unwrap().status.code(), Some(1));
    assert!(manager.next_notification().await.starts_with("STATUS=waiting for the database "));
    assert!(manager.socket.try_recv(&mut [0; 4096]).is_err(), "there is another notification");
}

#[tokio::test]
async fn a_daemon_without_its_database_notifies_that_it_is_alive() {
    let spool = tempfile::tempdir().unwrap();
    let manager = ServiceManager::new();
    let mut command = manager.command();
    // No server listens on port 9 of this address.
    command.args(["--database-url", "postgres://nobody@127.0.0.9:9/nothing", "--spool"]).arg(spool.path());
    let daemon = Daemon::start_command_with_log(command).await;
    let ready = manager.notification_with("READY=1").await;
    assert!(ready.contains("the database is unavailable"), "{ready}");
    manager.notification_with("WATCHDOG=1").await;
    manager.notification_with("WATCHDOG=1").await;
    assert!(daemon.terminate().await.success());
}

#[tokio::test]
async fn a_hanging_database_and_unread_output_do_not_end_a_daemon() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let manager = ServiceManager::new();
    let mut command = manager.command();
    // As in a container, both outputs go to the same pipe, which is full from the beginning.
    let (reader, writer) = full_pipe();
    command.args(["--listen", "127.0.0.1:0", "--log", "trace", "--database-url", database.url()]).kill_on_drop(true);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut process = command.spawn().unwrap();
    let ready = manager.notification_with("READY=1").await;
    let url = ready.lines().find_map(|line| line.strip_prefix("STATUS=serving ")).expect("the status has the URL");

    let mut client = database.client().await;
    let locked = client.transaction().await.unwrap();
    locked.batch_execute("lock table analytics.hour_counts in access exclusive mode").await.unwrap();
    let count = tokio::spawn(reqwest::get(format!("{url}/analytics?timestamp={}", Utc::now().timestamp_millis())));
    let began = Instant::now();
    while began.elapsed() < 3 * PATIENCE {
        timeout(PATIENCE, manager.notification_with("WATCHDOG=1")).await.expect("a sign of life comes in time");
        assert_eq!(reqwest::get(format!("{url}/healthz")).await.unwrap().status(), StatusCode::OK);
    }
    locked.rollback().await.unwrap();
    count.await.unwrap().unwrap();

    let pid = process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = timeout(Duration::from_secs(10), process.wait()).await.expect("it stops in time");
    assert!(ended.unwrap().success());
    drop(reader);
}
