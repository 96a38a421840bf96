use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use chrono::{DateTime, Utc};
use model::HourCounts;
use reqwest::{Response, StatusCode};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::PrintedLog;

/// How long a test waits for the daemon to start or stop before it fails. Starting includes starting an embedded database.
const PATIENCE: Duration = Duration::from_mins(2);

/// The real daemon, as a process of its own on a free port. Killed if the test ends without stopping it.
pub struct Daemon {
    process: Child,
    url: String,
    metrics_url: Option<String>,
    http: reqwest::Client,
    // Dropped last: what the process says in its last moments is printed too.
    _log: Option<PrintedLog>,
}

impl Daemon {
    /// Starts the daemon on a database, and returns once it serves.
    pub async fn start(database_url: &str) -> Self {
        Self::start_with(["--database-url", database_url]).await
    }

    /// Starts the daemon with these arguments besides the address to listen on, and returns once it serves.
    pub async fn start_with<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Self::command();
        command.args(arguments);
        Self::start_command(command).await
    }

    /// Starts the daemon by a command of the caller's, and returns once it serves. Its log is printed as output of the test.
    pub async fn start_command(mut command: Command) -> Self {
        let log = PrintedLog::of(&mut command);
        let daemon = Self::start_command_with_log(command).await;
        Self { _log: Some(log), ..daemon }
    }

    /// The same for a command that says where the log goes.
    pub async fn start_command_with_log(mut command: Command) -> Self {
        let mut process = command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the daemon can be run");
        let stdout = process.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let mut metrics_url = None;
        let url = loop {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("the daemon starts in time");
            let line = line.expect("its output is text").unwrap_or_default();
            match line.split_once(" on ") {
                Some(("metrics", url)) => metrics_url = Some(url.to_owned()),
                Some(("listening", url)) => break url.to_owned(),
                _ => panic!("the daemon said {line:?} instead of where it listens"),
            }
        };
        // A daemon whose output nobody reads would be another daemon than the one that users run.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { process, url, metrics_url, http: reqwest::Client::new(), _log: None }
    }

    /// The daemon's command, without arguments and with an environment that says nothing about it.
    pub fn command() -> Command {
        Self::command_of(&program("analyticsd"))
    }

    /// The same for a daemon of another version.
    pub fn command_of(program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("ANALYTICSD_") || name == "DATABASE_URL" {
                command.env_remove(name);
            }
        }
        command
    }

    /// Where it serves, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it serves its metrics, without a slash at the end. It must have been started with `--admin-listen`.
    pub fn metrics_url(&self) -> &str {
        self.metrics_url.as_deref().expect("the daemon serves its metrics")
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.id().expect("the daemon runs")
    }

    /// What its requests are made with. To make one takes longer than most requests do.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends one event.
    pub async fn post(&self, at: DateTime<Utc>, user: &str, event: &str) -> StatusCode {
        let millis = at.timestamp_millis().to_string();
        let query = [("timestamp", millis.as_str()), ("user", user), ("event", event)];
        let url = reqwest::Url::parse_with_params(&format!("{}/analytics", self.url), query).expect("the URL is valid");
        self.http.post(url).send().await.expect("the daemon answers").status()
    }

    /// Sends a batch, one JSON event a line.
    pub async fn post_batch(&self, lines: impl Into<reqwest::Body>) -> Response {
        let request = self.http.post(format!("{}/analytics/batch", self.url)).body(lines);
        request.send().await.expect("the daemon answers")
    }

    /// Asks for the counts of the hour that holds an instant.
    pub async fn counts(&self, at: DateTime<Utc>) -> HourCounts {
        let response = self.get(&format!("/analytics?timestamp={}", at.timestamp_millis())).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.expect("the body arrives").parse().expect("the body is counts")
    }

    /// All its metrics, as Prometheus reads them. It must have been started with `--admin-listen`.
    pub async fn metrics(&self) -> String {
        let response = self.http.get(format!("{}/metrics", self.metrics_url())).send().await;
        response.expect("the daemon answers").text().await.expect("the body arrives")
    }

    /// The value of one of its metrics, if it has that one: its name, with its labels as they are written where it has some.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().expect("a metric is a number"))
    }

    /// Asks for a path.
    pub async fn get(&self, path_and_query: &str) -> Response {
        self.http.get(format!("{}{path_and_query}", self.url)).send().await.expect("the daemon answers")
    }

    /// Asks it to stop as a service manager would, and returns how it ended.
    pub async fn terminate(self) -> ExitStatus {
        self.signal("TERM").await;
        self.ended().await
    }

    /// Waits for a daemon that was asked to stop, and returns how it ended.
    pub async fn ended(mut self) -> ExitStatus {
        timeout(PATIENCE, self.process.wait()).await.expect("the daemon stops in time").expect("its status can be read")
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) {
        self.process.kill().await.expect("the daemon can be killed");
    }

    /// Sends a signal by its name, for example `INT`.
    pub async fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().await;
        assert!(status.expect("kill can be run").success());
    }
}

/// A program of this workspace, built as this one was built.
pub fn program(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a process has a path");
    // Programs lie in target/PROFILE, tests in target/PROFILE/deps.
    let paths: Vec<PathBuf> = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).collect();
    let found = paths.iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{paths:?} are not there: run `cargo build --workspace` first")).clone()
}
