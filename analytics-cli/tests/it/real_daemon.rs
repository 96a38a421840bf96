use db::Flavour;
use harness::{Daemon, PrintedLog, TestDatabase, on_both_flavours};
use model::{Event, EventKind, Timestamp, UserName};

use crate::{
    Run, command,
    server::{Answer, TestServer},
};

on_both_flavours!(what_is_sent_and_imported_is_what_a_query_shows);

/// Runs the command line against a daemon, on a thread that may block.
async fn run(daemon: &Daemon, arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.env("ANALYTICS_SERVER", daemon.url());
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

async fn what_is_sent_and_imported_is_what_a_query_shows(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start(database.url()).await;
    for (user, event, at) in [
        ("anna", "click", "2015-05-17T10:59:59.999Z"),
        ("ben & co", "impression", "1431856800000"),
        ("anna", "impression", "2015-05-17T13:00:00+02:00"),
    ] {
        let sent = run(&daemon, &["send", "--user", user, "--event", event, "--at", at]).await;
        assert_eq!((sent.code, sent.stdout.as_str()), (0, ""), "{}", sent.stderr);
    }
    let files = tempfile::tempdir().unwrap();
    let (ndjson, csv) = (files.path().join("a.ndjson"), files.path().join("b.csv"));
    std::fs::write(&ndjson, "{\"timestamp\":1431856800000,\"user\":\"carl\",\"event\":\"click\"}\n").unwrap();
    std::fs::write(&csv, "event,user,timestamp\nclick,\"dora, d\",1431864000000\n").unwrap();
    for (format, file) in [("ndjson", &ndjson), ("csv", &csv)] {
        let imported = run(&daemon, &["import", "--format", format, file.to_str().unwrap()]).await;
        assert_eq!(imported.code, 0, "{}", imported.stderr);
    }

    let range = ["query", "--from", "2015-05-17T10:30:00Z", "--to", "2015-05-17T13:00:00Z", "--format", "csv"];
    let seen = run(&daemon, &range).await;
    assert_eq!(seen.code, 0, "{}", seen.stderr);
    assert_eq!(
        seen.stdout,
        "hour,unique_users,clicks,impressions\n\
         2015-05-17T10:00:00Z,3,2,1\n\
         2015-05-17T11:00:00Z,1,0,1\n\
         2015-05-17T12:00:00Z,1,1,0\n\
         2015-05-17T13:00:00Z,0,0,0\n"
    );
}

#[tokio::test]
async fn a_file_with_a_line_that_cannot_be_read_is_imported_but_for_that_line() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("some.csv");
    std::fs::write(&file, "timestamp,user,event\n1,a,click\n2,,click\n3,c,click\n").unwrap();
    let imported = run(&daemon, &["import", "--format", "csv", file.to_str().unwrap()]).await;
    assert_eq!(imported.code, 1);
    assert!(imported.stderr.contains('3') && imported.stderr.contains("user is empty"), "{}", imported.stderr);
    assert_eq!(database.store().brute_force_counts().await.unwrap()[0].1.clicks, 2);
}

#[tokio::test]
async fn rejects_are_never_written_over_what_is_to_be_imported() {
    let files = tempfile::tempdir().unwrap();
    let (file, link) = (files.path().join("a.csv"), files.path().join("b.csv"));
    std::fs::write(&file, "timestamp,user,event\n1,a,click\n").unwrap();
    std::fs::hard_link(&file, &link).unwrap();
    let arguments = ["import", "--format", "csv", file.to_str().unwrap(), "--rejects", link.to_str().unwrap()];
    let refused: Run = command(&arguments).output().unwrap().into();
    assert_eq!(refused.code, 2);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "timestamp,user,event\n1,a,click\n");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let unreachable = tokio::task::spawn_blocking(|| -> Run {
        command(&["--server", "http://127.0.0.1:1", "query"]).output().unwrap().into()
    });
    let unreachable = unreachable.await.unwrap();
    assert_eq!(unreachable.code, 2);
    assert!(unreachable.stderr.contains("analyticsd --embedded"), "{}", unreachable.stderr);
}

#[tokio::test]
async fn an_address_needs_no_scheme_and_https_is_told_that_the_port_speaks_http() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let plain = daemon.url().strip_prefix("http://").unwrap();
    let seen = run(&daemon, &["query", "--server", plain]).await;
    assert_eq!(seen.code, 0, "{}", seen.stderr);
    let tls = format!("https://{plain}");
    let advice = format!("no TLS connection to {tls}: as it seems, the port speaks http; write {}", daemon.url());
    let refused = run(&daemon, &["query", "--server", &tls]).await;
    assert_eq!((refused.code, refused.stderr), (2, format!("error: {advice}\n")));
    let doctor = run(&daemon, &["doctor", "--server", &tls]).await;
    assert!(doctor.stdout.contains(&advice), "{}", doctor.stdout);
}

#[tokio::test]
async fn the_busiest_hours_come_first_and_a_range_is_drawn_and_compared() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let now = chrono::Utc::now();
    for (hours_ago, clicks) in [(0, 1), (1, 3), (3, 2), (200, 4)] {
        for number in 0..clicks {
            let at = now - chrono::TimeDelta::hours(hours_ago);
            assert_eq!(daemon.post(at, &number.to_string(), "click").await, client::StatusCode::NO_CONTENT);
        }
    }
    let top = run(&daemon, &["top", "--last", "7d", "--by", "clicks", "-n", "2", "--format", "csv"]).await;
    let clicks: Vec<_> = top.stdout.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
    assert_eq!((top.code, clicks), (0, vec!["3", "2"]), "{}", top.stderr);

    let drawn = run(&daemon, &["query", "--last", "2h", "--plot", "clicks", "--compare"]).await;
    assert_eq!(drawn.code, 0, "{}", drawn.stderr);
    let lines: Vec<_> = drawn.stdout.lines().collect();
    assert!(lines[1].starts_with("clicks        █▃  at most 3"), "{}", drawn.stdout);
    assert!(lines.iter().any(|line| line.starts_with("clicks") && line.ends_with("+100.0 %")), "{}", drawn.stdout);
}

#[tokio::test]
async fn the_current_hour_is_followed_as_it_changes_also_after_the_daemon_was_away() {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let port = daemon.url().rsplit(':').next().unwrap().to_owned();
    let mut command = tokio::process::Command::from(command(&["tail", "--format", "ndjson", "--server", daemon.url()]));
    command.stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let (mut tail, _said) = PrintedLog::spawn(command).unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut until = async |clicks: u64| loop {
        let line = tokio::time::timeout(std::time::Duration::from_mins(1), lines.next_line()).await;
        let line = line.expect("a line comes in time").unwrap().expect("it goes on");
        let counts: serde_json::Value = serde_json::from_str(&line).unwrap();
        if counts["clicks"] == clicks {
            return;
        }
    };
    until(0).await;
    assert_eq!(daemon.post(chrono::Utc::now(), "anna", "click").await, client::StatusCode::NO_CONTENT);
    until(1).await;

    assert!(daemon.terminate().await.success());
    let mut again = Daemon::command();
    again.args(["--database-url", database.url(), "--listen", &format!("127.0.0.1:{port}")]);
    again.stdout(std::process::Stdio::null()).kill_on_drop(true);
    let (mut again, _log) = PrintedLog::spawn(again).unwrap();
    let client = client::Client::new(format!("http://127.0.0.1:{port}").parse().unwrap(), None);
    let event = Event { at: Timestamp::now(), user: UserName::new("ben").unwrap(), kind: EventKind::Click };
    while client.send(&event, None).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    until(2).await;
    again.kill().await.unwrap();
}

#[test]
fn an_answer_that_is_not_a_stream_is_an_error_and_an_ended_stream_is_not() {
    let server = TestServer::answering(&[Answer::Text("<html>".to_owned())]);
    let output = command(&["tail", "--server", &server.url()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("which is no answer of analyticsd; is the address right?")
    );
}

#[tokio::test]
async fn tail_fails_if_the_server_cannot_be_reached_at_the_beginning() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = command(&["tail", "--server", &format!("http://127.0.0.1:{port}")]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is analyticsd running?"));
}
