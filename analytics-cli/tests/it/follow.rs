//! Logs that are imported as they grow, against a real daemon.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Stdio,
    time::Duration,
};

use db::Flavour;
use harness::{Daemon, TestDatabase};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{Run, command};

fn line(visitor: u64) -> String {
    format!("192.0.2.{visitor} - - [01/Feb/2024:14:00:01 +0000] \"GET / HTTP/1.1\" 200 512\n")
}

fn lines(visitors: std::ops::RangeInclusive<u64>) -> String {
    visitors.map(line).collect()
}

fn append(path: &Path, text: &str) {
    File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

struct Followed {
    database: TestDatabase,
    daemon: Daemon,
    folder: TempDir,
}

impl Followed {
    async fn begin(options: &[&str]) -> Self {
        let database = TestDatabase::new(Flavour::Postgres).await;
        let daemon = Daemon::start_with([&["--database-url", database.url()], options].concat()).await;
        Self { database, daemon, folder: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("access.log")
    }

    fn import(&self, arguments: &[&str]) -> Child {
        let mut import = Command::from(command(&["import", "--server", self.daemon.url()]));
        import.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        import.spawn().unwrap()
    }

    fn follow(&self, more: &[&str]) -> Child {
        let log = self.log();
        self.import(&[&["--follow", log.to_str().unwrap()], more].concat())
    }

    /// Waits until each of these visitors has one event, and nobody else has any.
    async fn counts(&self, visitors: u64) {
        let until = async {
            let client = self.database.client().await;
            let all = "select count(*), count(distinct user_name) from analytics.events";
            loop {
                let row = client.query_one(all, &[]).await.unwrap();
                let (events, users): (i64, i64) = (row.get(0), row.get(1));
                assert_eq!(events, users, "an event is stored twice");
                if events == i64::try_from(visitors).unwrap() {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_mins(1), until).await.unwrap_or_else(|_| panic!("{visitors} events within a minute"));
    }
}

async fn interrupt(import: Child) -> Run {
    harness::signal(import.id().unwrap(), "INT").await.unwrap();
    import.wait_with_output().await.unwrap().into()
}

#[tokio::test]
async fn a_log_is_followed_through_both_ways_of_rotation() {
    let followed = Followed::begin(&[]).await;
    let (log, rotated) = (followed.log(), followed.folder.path().join("access.log.1"));
    append(&log, &lines(1..=3));
    let metrics = followed.folder.path().join("lag.prom");
    let import = followed.follow(&["--metrics", metrics.to_str().unwrap()]);
    followed.counts(3).await;

    // A line arrives in two pieces.
    let four = line(4);
    append(&log, &four[..20]);
    append(&log, &four[20..]);
    followed.counts(4).await;

    fs::rename(&log, &rotated).unwrap();
    append(&rotated, &line(5));
    append(&log, &line(6));
    followed.counts(6).await;

    append(&log, &line(7));
    followed.counts(7).await;
    append(&log, &line(8));
    fs::copy(&log, &rotated).unwrap();
    fs::write(&log, "").unwrap();
    append(&log, &line(9));
    followed.counts(9).await;

    while !fs::read_to_string(&metrics).unwrap().contains("analytics_import_lag_bytes{file=") {
        sleep(Duration::from_millis(20)).await;
    }
    let ended = interrupt(import).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.starts_with("events,9\n"), "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn a_log_that_was_rotated_while_nobody_followed_it_is_finished_first() {
    let followed = Followed::begin(&[]).await;
    let log = followed.log();
    append(&log, &lines(1..=2));
    let import = followed.follow(&[]);
    followed.counts(2).await;
    assert_eq!(interrupt(import).await.code, 0);

    // It was rotated twice, and nobody asked for what is older.
    let rotated = |number: u8| followed.folder.path().join(format!("access.log.{number}"));
    append(&rotated(3), &line(99));
    File::options().append(true).open(rotated(3)).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    append(&log, &line(3));
    fs::rename(&log, rotated(2)).unwrap();
    append(&rotated(1), &line(4));
    append(&log, &line(5));
    let import = followed.follow(&[]);
    followed.counts(5).await;
    drop(import);
    let import = followed.follow(&[]);
    append(&log, &line(6));
    followed.counts(6).await;
    assert_eq!(interrupt(import).await.code, 0);
}

#[tokio::test]
async fn a_log_that_was_cut_and_has_grown_past_its_old_length_is_read_from_its_beginning() {
    let followed = Followed::begin(&[]).await;
    let (log, rotated) = (followed.log(), followed.folder.path().join("access.log.1"));
    append(&log, &lines(1..=3));
    let import = followed.follow(&[]);
    followed.counts(3).await;
    fs::copy(&log, &rotated).unwrap();
    // At once, as far as the reader can see: the name stays with the file.
    let mut cut = File::options().write(true).open(&log).unwrap();
    cut.write_all(lines(4..=9).as_bytes()).unwrap();
    followed.counts(9).await;
    assert_eq!(interrupt(import).await.code, 0);
}

#[tokio::test]
async fn logs_whose_first_line_is_always_the_same_are_followed_through_rotation() {
    let followed = Followed::begin(&[]).await;
    let (log, rotated) = (followed.log(), followed.folder.path().join("access.log.1"));
    let banner = "began to write this log\n";
    append(&log, &format!("{banner}{}", lines(1..=3)));
    let import = followed.follow(&[]);
    followed.counts(3).await;
    fs::rename(&log, &rotated).unwrap();
    append(&log, &format!("{banner}{}", lines(4..=5)));
    followed.counts(5).await;
    append(&log, &line(6));
    followed.counts(6).await;
    let ended = interrupt(import).await;
    assert_eq!(ended.code, 1, "the banner is no line of the log: {}", ended.stderr);
}

#[tokio::test]
async fn a_source_that_a_restored_database_has_lost_a_part_of_is_read_from_there() {
    let followed = Followed::begin(&[]).await;
    let log = followed.log();
    append(&log, &lines(1..=2));
    let import = followed.follow(&[]);
    followed.counts(2).await;
    let client = followed.database.client().await;
    let earlier: Vec<_> = client.query("select * from analytics.sources", &[]).await.unwrap();
    let (position, digest): (i64, Vec<u8>) = (earlier[0].get("position"), earlier[0].get("digest"));
    append(&log, &line(3));
    followed.counts(3).await;
    let back = "update analytics.sources set position = $1, digest = $2";
    client.execute(back, &[&position, &digest]).await.unwrap();
    client.execute("delete from analytics.events where user_name = '192.0.2.3'", &[]).await.unwrap();
    append(&log, &line(4));
    followed.counts(4).await;
    assert_eq!(interrupt(import).await.code, 0);
}

#[tokio::test]
async fn a_line_that_the_server_never_takes_does_not_hold_up_those_behind_it() {
    let followed = Followed::begin(&["--max-future", "1h"]).await;
    let log = followed.log();
    append(&log, &lines(1..=2));
    append(&log, &line(3).replace("2024", "2924"));
    append(&log, &line(4));
    append(&log, &line(5).replace("2024", "2924"));
    let import = followed.follow(&[]);
    followed.counts(3).await;
    let ended = interrupt(import).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("access.log:3: was not accepted"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_line_under_the_key_of_another_event_does_not_hold_up_those_behind_it() {
    let followed = Followed::begin(&[]).await;
    let log = followed.folder.path().join("events.ndjson");
    let event = |user: &str, id: u32| {
        format!("{{\"timestamp\":1431857103000,\"user\":\"{user}\",\"event\":\"click\",\"id\":\"{id}\"}}\n")
    };
    let import = followed.import(&["--follow", log.to_str().unwrap()]);
    append(&log, &event("anna", 1));
    followed.counts(1).await;
    append(&log, &[event("ben", 2), event("carla", 1), event("dora", 3)].concat());
    followed.counts(3).await;
    let ended = interrupt(import).await;
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("events.ndjson:3: was not accepted"), "{}", ended.stderr);
}

#[tokio::test]
async fn what_a_pipe_brings_is_sent_as_it_comes() {
    let followed = Followed::begin(&[]).await;
    let mut import = followed.import(&["-"]);
    let mut pipe = import.stdin.take().unwrap();
    for visitor in 1..=3 {
        pipe.write_all(line(visitor).as_bytes()).await.unwrap();
        followed.counts(visitor).await;
    }
    let ended = interrupt(import).await;
    assert!(ended.stdout.starts_with("events,3\n"), "{}{}", ended.stdout, ended.stderr);

    // The same beginning again: it is stored, and what follows is new.
    let mut import = followed.import(&["-"]);
    let mut pipe = import.stdin.take().unwrap();
    pipe.write_all(lines(1..=4).as_bytes()).await.unwrap();
    followed.counts(4).await;
    drop(pipe);
    let ended: Run = import.wait_with_output().await.unwrap().into();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("repeated,3\n"), "{}", ended.stdout);
}

#[tokio::test]
async fn a_log_that_is_not_there_yet_is_waited_for_and_the_wait_can_be_ended() {
    let followed = Followed::begin(&[]).await;
    let import = followed.follow(&[]);
    append(&followed.log(), &line(1));
    followed.counts(1).await;
    assert_eq!(interrupt(import).await.code, 0);

    fs::remove_file(followed.log()).unwrap();
    let metrics = followed.folder.path().join("lag.prom");
    let import = followed.follow(&["--metrics", metrics.to_str().unwrap()]);
    // It writes them once it listens to signals.
    while !fs::read_to_string(&metrics).is_ok_and(|text| text.contains("lag_bytes")) {
        sleep(Duration::from_millis(20)).await;
    }
    let ended = interrupt(import).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}
