//! The log of the real daemon, and what it must never contain.

use std::{
    fs,
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use db::Flavour;
use harness::{Daemon, TestDatabase, server_dir};
use model::access::Scope;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{
    raw::{connect_and_send, read_to_the_end},
    tokens::{answers, id, token},
};

/// A daemon whose log goes to a file.
struct Logged {
    daemon: Daemon,
    log: PathBuf,
    _dir: TempDir,
}

impl Logged {
    async fn start(database_url: &str, arguments: &[&str]) -> Self {
        let dir = server_dir();
        let log = dir.path().join("log");
        let mut command = Daemon::command();
        command.args(["--database-url", database_url]).args(arguments).stderr(File::create(&log).unwrap());
        Self { daemon: Daemon::start_command_with_log(command).await, log, _dir: dir }
    }

    /// The first line with all these texts.
    async fn line_with(&self, texts: &[&str]) -> String {
        let search = async {
            loop {
                let written = fs::read_to_string(&self.log).unwrap();
                let complete = written.rfind('\n').map_or("", |end| &written[..end]);
                if let Some(line) = complete.lines().find(|line| texts.iter().all(|text| line.contains(text))) {
                    return line.to_owned();
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let found = timeout(Duration::from_mins(1), search).await;
        found.unwrap_or_else(|_| panic!("no line holds {texts:?}:\n{}", fs::read_to_string(&self.log).unwrap()))
    }

    /// The whole log, once the daemon has stopped.
    async fn all(self) -> String {
        assert!(self.daemon.terminate().await.success());
        fs::read_to_string(&self.log).unwrap()
    }
}

/// Makes the database refuse events of users with this prefix, and repeat the name in its error.
async fn refuse_users(database: &TestDatabase, beginning: &str) {
    let client = database.client().await;
    let sql = format!(
        "create function refuse() returns trigger language plpgsql as $$ begin if new.user_name like '{beginning}%' \
         then raise exception 'never %', new.user_name using detail = new.user_name; end if; return new; end $$; \
         create trigger refuse before insert on analytics.events for each row execute function refuse()"
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn a_failed_request_is_logged_with_its_id_and_the_lines_a_second_are_limited() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    refuse_users(&database, "bad").await;
    let logged = Logged::start(database.url(), &[]).await;
    let began = Instant::now();
    for number in 0..100 {
        let user = format!("bad{number}");
        assert_eq!(logged.daemon.post(Utc::now(), &user, "click").await, StatusCode::SERVICE_UNAVAILABLE);
    }
    let query = format!("timestamp={}&user=bad&event=click", Utc::now().timestamp_millis());
    // If a line is left out, one of the next seconds has room.
    let failing = async {
        loop {
            let request = Client::new().post(format!("{}/analytics?{query}", logged.daemon.url()));
            request.header("X-Request-Id", "mine").send().await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
    };
    let line = tokio::select! {
        // On a busy machine the daemon may take the database to be away for a moment.
        line = logged.line_with(&["request_id=mine", "reason=\"refused\""]) => line,
        () = failing => unreachable!("it never ends"),
    };
    for part in ["WARN", "a request failed", "status=\"503\"", "route=\"/analytics\""] {
        assert!(line.contains(part), "{line}");
    }
    let lines = logged.all().await.lines().filter(|line| line.contains("a request failed")).count() as u64;
    // The first and the last second may be partial.
    let most = 10 * (began.elapsed().as_secs() + 2);
    assert!(lines > 1 && lines <= most, "{lines} lines, and {most} at most");
}

#[tokio::test]
async fn a_handlers_line_has_the_id_of_its_request() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let logged = Logged::start(database.url(), &[]).await;
    database.client().await.batch_execute("drop function analytics.hours").await.unwrap();
    let request = Client::new().get(format!("{}/analytics/hours", logged.daemon.url()));
    let answer = request.header("X-Request-Id", "of-a-report").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let line = logged.line_with(&["reports cannot be read"]).await;
    assert!(line.contains("request_id=of-a-report"), "{line}");
}

#[tokio::test]
async fn an_outage_of_reads_is_logged_once_and_so_is_its_end() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let logged = Logged::start(database.url(), &[]).await;
    let client = database.client().await;
    let ask = async |status: StatusCode| {
        for target in ["/analytics?timestamp=0", "/analytics?timestamp=0", "/analytics/hours", "/analytics/hours"] {
            let answer = logged.daemon.get(target).await;
            assert_eq!(answer.status(), status, "{target}");
        }
    };
    let rename = |from: &str, to: &str| {
        format!(
            "alter function analytics.{from}counts rename to {to}counts; \
             alter function analytics.{from}hours rename to {to}hours"
        )
    };
    for _ in 0..2 {
        client.batch_execute(&rename("", "no_")).await.unwrap();
        ask(StatusCode::SERVICE_UNAVAILABLE).await;
        client.batch_execute(&rename("no_", "")).await.unwrap();
        ask(StatusCode::OK).await;
    }
    let log = logged.all().await;
    for text in
        ["counts cannot be read", "counts can be read again", "reports cannot be read", "reports can be read again"]
    {
        assert_eq!(log.lines().filter(|line| line.contains(text)).count(), 2, "{text}: {log}");
    }
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_request() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let logged = Logged::start(database.url(), &["--log", "info,access=debug"]).await;
    logged.daemon.get("/analytics?timestamp=0&user=nobodys-business").await;
    logged.daemon.get("/not%0Ahere").await;
    let line = logged.line_with(&["access: request", "path=\"/analytics\""]).await;
    for part in
        ["DEBUG", "request_id=", "client=127.0.0.1", "method=\"GET\"", "status=\"200\"", "reason=\"none\"", "micros="]
    {
        assert!(line.contains(part), "{line}");
    }
    logged.line_with(&["path=\"/not%0Ahere\"", "status=\"404\"", "reason=\"not_found\""]).await;
    assert!(!logged.all().await.contains("nobodys-business"), "a query string is not written");

    let silent = Logged::start(database.url(), &[]).await;
    silent.daemon.get("/analytics?timestamp=0").await;
    assert!(!silent.all().await.contains("access"));
}

#[tokio::test]
async fn no_text_of_a_client_or_the_database_begins_a_line_or_moves_a_cursor() {
    let log = log_of_an_evil_client("human").await;
    assert!(log.contains("evil\\n2026-01-01"), "the name is there, on one line: {log}");
    for line in log.lines() {
        let time = line.split_once(' ').and_then(|(time, _)| time.parse::<DateTime<Utc>>().ok());
        assert!(time.is_some() && !line.starts_with("2026-01-01"), "{line:?}");
    }
}

#[tokio::test]
async fn each_line_is_an_object_of_json_whatever_it_contains() {
    let log = log_of_an_evil_client("json").await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let refused = lines.iter().find(|line| line["message"] == "the database refused events").unwrap();
    assert!(refused["error"].as_str().unwrap().contains("evil\n2026-01-01"), "the name is there as it was: {refused}");
    assert_eq!(refused["level"], "ERROR");
    let failed = lines.iter().find(|line| line["message"] == "a request failed").unwrap();
    assert_eq!((&failed["status"], &failed["request_id"]), (&"503".into(), &"of-the-evil".into()));
}

/// The log after attacks by a client and the database. No line contains an unprintable character.
async fn log_of_an_evil_client(format: &str) -> String {
    let database = TestDatabase::new(Flavour::Postgres).await;
    refuse_users(&database, "evil").await;
    let logged = Logged::start(database.url(), &["--log", "debug,access=debug", "--log-format", format]).await;
    let forged = "evil\n2026-01-01T00:00:00Z ERROR analyticsd: forged\r\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{2028}\u{85}\u{7f}end";
    let query =
        [("timestamp", Utc::now().timestamp_millis().to_string().as_str()), ("user", forged), ("event", "click")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let url = reqwest::Url::parse_with_params(&format!("{}/analytics", logged.daemon.url()), query).unwrap();
    let answer = Client::new().post(url).header("X-Request-Id", "of-the-evil").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    logged.daemon.get("/%0A2026-01-01T00:00:00Z%20ERROR%20forged").await;
    for bytes in [
        &b"GET /\xc2\x9b31m\xe2\x80\xa8 HTTP/1.1\r\nHost: \x1b[2J\r\nX-Request-Id: a\x1b[2J\r\nConnection: close\r\n\r\n"[..],
        b"GET /turned\xe2\x80\xaearound\xe2\x81\xa6 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /\xc2\x9b31m\xe2\x80\xa8 HTTP/1.1\r\nHost: x\r\nUser-Agent: \xc2\x9b31m\r\nConnection: close\r\n\r\n",
    ] {
        read_to_the_end(&mut connect_and_send(&logged.daemon, bytes).await, Duration::from_secs(10)).await;
    }
    logged.line_with(&["the database refused events", "forged"]).await;
    let log = logged.all().await;
    let is_strange = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let strange = log.chars().find(|&c| c != '\n' && is_strange(c));
    assert_eq!(strange, None, "{log:?}");
    assert!(log.contains("/turned\\u"), "{log}");
    log
}

#[tokio::test]
async fn secrets_are_never_logged_at_any_level() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let with_password = database.url().replacen("analytics@", "analytics:a-database-password@", 1);
    assert_ne!(with_password, database.url());
    let logged = Logged::start(&with_password, &["--log", "trace"]).await;
    let http = Client::new();
    for path in ["/analytics", "/analytics/hours", "/analytics.gif", "/nothing"] {
        let url = format!("{}{path}?timestamp=0&user=a-users-name&key=a-secret-key", logged.daemon.url());
        let request = http
            .get(url)
            .header("Authorization", "Bearer a-secret-token")
            .header("Idempotency-Key", "a-key-of-an-event");
        request.send().await.unwrap();
    }
    assert_eq!(logged.daemon.post(Utc::now(), "a-users-name", "click").await, StatusCode::NO_CONTENT);
    let log = logged.all().await;
    assert!(log.contains("DEBUG"), "much is written");
    for secret in ["a-database-password", "a-secret-key", "a-secret-token", "a-users-name"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[tokio::test]
async fn a_failing_token_cache_is_logged_once_and_tokens_are_valid_meanwhile() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let folder = server_dir();
    let (kept, new) = (folder.path().join("access.json"), folder.path().join("access.json.new"));
    fs::create_dir_all(kept.join("not empty")).unwrap();
    let logged = Logged::start(database.url(), &["--spool", folder.path().to_str().unwrap()]).await;
    let token = token(&database, &[Scope::Read]).await;
    answers(&logged.daemon, None, StatusCode::UNAUTHORIZED).await;
    let until_tried_again = async || {
        // A failed rename leaves the new file behind.
        while fs::remove_file(&new).is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..3 {
        timeout(Duration::from_mins(1), until_tried_again()).await.expect("it is tried again");
    }
    fs::remove_dir_all(&kept).unwrap();
    logged.line_with(&["the access tokens can be written to the spool's folder again"]).await;
    assert!(fs::read_to_string(&kept).unwrap().contains(id(&token)));
    let written = logged.all().await;
    assert_eq!(written.matches("cannot write the access tokens to the spool's folder").count(), 1, "{written}");
}
