use std::{env, ffi::OsStr, path::PathBuf, process::ExitStatus, time::Duration};

use chrono::{DateTime, Utc};
use model::HourCounts;
use reqwest::{Response, StatusCode};
use tokio::{process::Command, time::timeout};

use crate::{PrintedLog, ServerProcess, bare_command, signal};

/// How long a test waits for the daemon to stop before it fails.
const PATIENCE: Duration = Duration::from_mins(2);

/// The real daemon, as a process of its own on a free port. Killed if the test ends without stopping it.
pub struct Daemon {
    server: ServerProcess,
    http: reqwest::Client,
    // Dropped last, so that the daemon's last lines are printed too.
    _log: Option<PrintedLog>,
}

impl Daemon {
    /// Returns once the daemon serves.
    pub async fn start(database_url: &str) -> Self {
        Self::start_with(["--database-url", database_url]).await
    }

    /// Starts the daemon with these arguments besides the address to listen on.
    pub async fn start_with<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Self::command();
        command.args(arguments);
        Self::start_command(command).await
    }

    /// The daemon's log becomes output of the test.
    pub async fn start_command(mut command: Command) -> Self {
        let log = PrintedLog::of(&mut command);
        let daemon = Self::start_command_with_log(command).await;
        Self { _log: Some(log), ..daemon }
    }

    /// The command decides where the log goes.
    pub async fn start_command_with_log(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]);
        let server = ServerProcess::start(command).await.expect("the daemon starts");
        Self { server, http: reqwest::Client::new(), _log: None }
    }

    /// Without arguments, in an environment that does not configure the daemon.
    pub fn command() -> Command {
        bare_command(&program("analyticsd"))
    }

    /// Without a slash at the end.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// Without a slash at the end. The daemon must have been started with `--admin-listen`.
    pub fn metrics_url(&self) -> &str {
        self.server.metrics_url().expect("the daemon serves its metrics")
    }

    pub fn pid(&self) -> u32 {
        self.server.pid().expect("the daemon runs")
    }

    /// To make a client takes longer than most requests do, so tests share this one.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub async fn post(&self, at: DateTime<Utc>, user: &str, event: &str) -> StatusCode {
        let millis = at.timestamp_millis().to_string();
        let query = [("timestamp", millis.as_str()), ("user", user), ("event", event)];
        let url =
            reqwest::Url::parse_with_params(&format!("{}/analytics", self.url()), query).expect("the URL is valid");
        self.http.post(url).send().await.expect("the daemon answers").status()
    }

    /// One JSON event a line.
    pub async fn post_batch(&self, lines: impl Into<reqwest::Body>) -> Response {
        let request = self.http.post(format!("{}/analytics/batch", self.url())).body(lines);
        request.send().await.expect("the daemon answers")
    }

    /// The counts of the hour that contains this time.
    pub async fn counts(&self, at: DateTime<Utc>) -> HourCounts {
        let response = self.get(&format!("/analytics?timestamp={}", at.timestamp_millis())).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.expect("the body arrives").parse().expect("the body is counts")
    }

    /// In the format of Prometheus. The daemon must have been started with `--admin-listen`.
    pub async fn metrics(&self) -> String {
        let response = self.http.get(format!("{}/metrics", self.metrics_url())).send().await;
        response.expect("the daemon answers").text().await.expect("the body arrives")
    }

    /// `name` includes the labels, if there are any.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().expect("a metric is a number"))
    }

    pub async fn get(&self, path_and_query: &str) -> Response {
        self.http.get(format!("{}{path_and_query}", self.url())).send().await.expect("the daemon answers")
    }

    /// Stops the daemon as a service manager does.
    pub async fn terminate(self) -> ExitStatus {
        self.signal("TERM").await;
        self.ended().await
    }

    /// Waits until the daemon ends.
    pub async fn ended(mut self) -> ExitStatus {
        timeout(PATIENCE, self.server.process.wait())
            .await
            .expect("the daemon stops in time")
            .expect("its status can be read")
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.server.process.kill().await.expect("the daemon can be killed");
    }

    /// Sends a signal by its name, for example `INT`.
    pub async fn signal(&self, name: &str) {
        signal(self.pid(), name).await.expect("the daemon can be signalled");
    }
}

/// A program of this workspace, built as this one was built.
pub fn program(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a process has a path");
    // Programs lie in target/PROFILE, tests in target/PROFILE/deps.
    let paths: Vec<PathBuf> = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).collect();
    let found = paths.iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{paths:?} do not exist: run `cargo build --workspace` first")).clone()
}
