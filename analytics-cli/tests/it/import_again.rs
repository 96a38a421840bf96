//! Imports that are interrupted, against a real daemon: what is given again is counted once.

use std::{
    fmt::Write,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use chrono::{DateTime, Utc};
use db::Flavour;
use harness::{Daemon, PrintedLog, TestDatabase};
use model::HourCounts;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Run, command};

const EVENTS: u64 = 20_000;
const USERS: u64 = 900;

/// Events in two hours.
fn events(numbers: std::ops::Range<u64>) -> String {
    numbers.fold(String::new(), |mut text, number| {
        let (millis, user) = (number % 2 * 3_600_000, number % USERS);
        writeln!(text, r#"{{"timestamp":{millis},"user":"u{user}","event":"impression"}}"#).unwrap();
        text
    })
}

fn file(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("events.ndjson");
    std::fs::write(&path, events(0..EVENTS)).unwrap();
    path
}

fn import(url: &str, file: &Path, more: &[&str]) -> Command {
    let mut command = Command::from(command(&["import", "--format", "ndjson", "--server", url]));
    command.args(more).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> Run {
    command.output().await.unwrap().into()
}

async fn ended(child: Child) -> Run {
    child.wait_with_output().await.unwrap().into()
}

/// A number of the summary.
fn number(run: &Run, name: &str) -> u64 {
    let found = run.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(','));
    found.unwrap_or_else(|| panic!("{}{}", run.stdout, run.stderr)).parse().unwrap()
}

fn hour(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(number * 3_600, 0).unwrap()
}

/// What both hours count when every event is counted once.
async fn each_is_counted_once(daemon: &Daemon, events: u64) {
    for number in 0..2 {
        let counts = HourCounts { unique_users: USERS / 2, clicks: 0, impressions: events / 2 };
        assert_eq!(daemon.counts(hour(number)).await, counts);
    }
}

/// An import in small batches of which a part is stored.
async fn under_way(daemon: &Daemon, file: &Path) -> Child {
    let mut importing = import(daemon.url(), file, &["--batch-size", "50"]).spawn().unwrap();
    while daemon.counts(hour(0)).await.impressions == 0 {
        assert_eq!(importing.try_wait().unwrap(), None, "it ended before anything was stored");
    }
    importing
}

#[tokio::test]
async fn an_import_that_was_killed_is_given_again_and_counts_nothing_twice() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = file(&folder);

    under_way(&daemon, &file).await.kill().await.unwrap();

    // Batches of another size are as good.
    let again = run(import(daemon.url(), &file, &["--batch-size", "3000"])).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    let [new, repeated] = ["events", "repeated"].map(|name| number(&again, name));
    assert_eq!(new + repeated, EVENTS, "{}", again.stdout);
    assert!(new > 0 && repeated > 0, "{}", again.stdout);
    each_is_counted_once(&daemon, EVENTS).await;

    // Of a file that has grown only what is new is counted.
    File::options().append(true).open(&file).unwrap().write_all(events(EVENTS..EVENTS + 1_000).as_bytes()).unwrap();
    let grown = run(import(daemon.url(), &file, &[])).await;
    assert_eq!(grown.code, 0, "{}", grown.stderr);
    assert_eq!(["events", "repeated"].map(|name| number(&grown, name)), [1_000, EVENTS]);
    each_is_counted_once(&daemon, EVENTS + 1_000).await;

    // So it is however the file is called and packed, and from a pipe.
    let (renamed, packed) = (folder.path().join("events.1"), folder.path().join("events.2.gz"));
    std::fs::rename(&file, &renamed).unwrap();
    let gzip = std::process::Command::new("gzip").arg("--stdout").arg(&renamed).output().unwrap();
    std::fs::write(&packed, gzip.stdout).unwrap();
    for file in [&renamed, &packed] {
        let again = run(import(daemon.url(), file, &[])).await;
        assert_eq!(["events", "repeated"].map(|name| number(&again, name)), [0, EVENTS + 1_000], "{}", again.stderr);
        let page = format!("{}/?from=1970-01-01T00:00:00Z&to=1970-01-01T01:00:00Z\n", daemon.url());
        assert!(again.stderr.ends_with(&page), "the page has what was imported before: {}", again.stderr);
    }
    let mut piped = import(daemon.url(), Path::new("-"), &[]);
    let again = run({
        piped.stdin(File::open(&packed).unwrap());
        piped
    })
    .await;
    assert_eq!(["events", "repeated"].map(|name| number(&again, name)), [0, EVENTS + 1_000], "{}", again.stderr);
    each_is_counted_once(&daemon, EVENTS + 1_000).await;
}

#[tokio::test]
async fn an_import_outlives_a_daemon_that_is_killed_and_started_again() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let url = daemon.url().to_owned();
    let port = url.rsplit(':').next().unwrap();

    let importing = under_way(&daemon, &file(&folder)).await;
    daemon.kill().await;
    let mut again = Daemon::command();
    again.args(["--database-url", database.url(), "--listen", &format!("127.0.0.1:{port}")]);
    again.stdout(Stdio::null()).kill_on_drop(true);
    let _again = PrintedLog::spawn(again).unwrap();

    let imported = ended(importing).await;
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    each_is_counted_once(&Daemon::start(database.url()).await, EVENTS).await;
}

#[tokio::test]
async fn an_interrupted_import_prints_what_is_stored_and_how_to_continue() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = file(&folder);

    let importing = under_way(&daemon, &file).await;
    harness::signal(importing.id().unwrap(), "INT").await.unwrap();
    let first = ended(importing).await;
    assert_eq!(first.code, 2, "{}", first.stderr);
    assert!(first.stderr.contains("it was interrupted"), "{}", first.stderr);
    let said = number(&first, "events");
    let stored = daemon.counts(hour(0)).await.impressions + daemon.counts(hour(1)).await.impressions;
    assert_eq!(stored, said);
    let not_stored = format!("line {} and all after it.", said + 1);
    assert!(first.stderr.contains(&not_stored), "{said}: {}", first.stderr);
    assert!(first.stderr.contains("Run the same command again to continue"), "{}", first.stderr);

    let rest = run(import(daemon.url(), &file, &[])).await;
    assert_eq!(rest.code, 0, "{}", rest.stderr);
    assert_eq!(["events", "repeated"].map(|name| number(&rest, name)), [EVENTS - said, said]);
    each_is_counted_once(&daemon, EVENTS).await;
}

#[tokio::test]
async fn a_file_that_was_changed_where_it_was_imported_is_refused() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, events(0..10)).unwrap();
    assert_eq!(run(import(daemon.url(), &file, &[])).await.code, 0);

    std::fs::write(&file, events(0..4) + &events(6..10)).unwrap();
    let changed = run(import(daemon.url(), &file, &[])).await;
    assert_eq!(changed.code, 2, "{}", changed.stderr);
    assert!(changed.stderr.contains("has changed, or is gone"), "{}", changed.stderr);
    assert!(changed.stderr.contains("--id NAME"), "{}", changed.stderr);
    assert_eq!(daemon.counts(hour(0)).await.impressions, 5);

    let named = run(import(daemon.url(), &file, &["--id", "another"])).await;
    assert_eq!(named.code, 0, "{}", named.stderr);
    assert_eq!(daemon.counts(hour(0)).await.impressions, 9);
}

#[tokio::test]
async fn one_file_that_is_imported_twice_at_the_same_time_is_counted_once() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = file(&folder);
    let copy = folder.path().join("copy");
    std::fs::copy(&file, &copy).unwrap();
    under_way(&daemon, &file).await.kill().await.unwrap();
    let both = tokio::join!(
        run(import(daemon.url(), &file, &["--batch-size", "70"])),
        run(import(daemon.url(), &copy, &["--batch-size", "90"])),
    );
    for one in [both.0, both.1] {
        assert_eq!(one.code, 0, "{}", one.stderr);
    }
    each_is_counted_once(&daemon, EVENTS).await;
}

#[tokio::test]
async fn files_that_begin_alike_are_sources_of_their_own_and_a_line_without_an_end_waits_for_it() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let case = |name: &str| format!("{}/tests/cases/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut both =
        Command::from(command(&["import", "--server", daemon.url(), &case("k3-web1.log"), &case("k3-web2.log")]));
    both.stdout(Stdio::piped()).stderr(Stdio::piped());
    let both = run(both).await;
    assert_eq!((both.code, number(&both, "events"), number(&both, "repeated")), (0, 4, 0), "{}", both.stderr);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("visits.csv");
    let csv = |more: &'static [&str]| {
        let mut import = Command::from(command(&["import", "--format", "csv", "--server", daemon.url()]));
        import.args(more).arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped());
        run(import)
    };
    std::fs::copy(case("k2-cut.csv"), &file).unwrap();
    let cut = csv(&[]).await;
    assert_eq!((cut.code, number(&cut, "unfinished")), (0, 1), "{}", cut.stderr);
    assert!(cut.stderr.contains("its last line has no end yet"), "{}", cut.stderr);
    std::fs::copy(case("k2-grown.csv"), &file).unwrap();
    let grown = csv(&["--complete"]).await;
    assert_eq!((grown.code, number(&grown, "unfinished")), (0, 0), "{}", grown.stderr);
    let rows = "select distinct user_name from analytics.events where kind = 'click' order by 1";
    let rows = database.client().await.query(rows, &[]).await.unwrap();
    let users: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(users, ["anna-1", "benjamin-2", "cid-3"]);
}

#[tokio::test]
async fn a_line_that_was_imported_without_its_end_is_not_counted_again_with_it() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, events(0..4).trim_end()).unwrap();
    assert_eq!(number(&run(import(daemon.url(), &file, &["--complete"])).await, "events"), 4);
    std::fs::write(&file, events(0..6)).unwrap();
    let grown = run(import(daemon.url(), &file, &[])).await;
    assert_eq!(["events", "repeated"].map(|name| number(&grown, name)), [2, 4], "{}", grown.stderr);

    // One that goes on is no other line: it was counted as it stood.
    let case = |name: &str| format!("{}/tests/cases/{name}", env!("CARGO_MANIFEST_DIR"));
    let csv = folder.path().join("visits.csv");
    let import_csv = |more: &'static [&str]| {
        let mut import = Command::from(command(&["import", "--format", "csv", "--server", daemon.url()]));
        import.args(more).arg(&csv).stdout(Stdio::piped()).stderr(Stdio::piped());
        run(import)
    };
    std::fs::copy(case("k2-cut.csv"), &csv).unwrap();
    assert_eq!(number(&import_csv(&["--complete"]).await, "events"), 2);
    std::fs::copy(case("k2-grown.csv"), &csv).unwrap();
    let went_on = import_csv(&[]).await;
    assert_eq!((went_on.code, number(&went_on, "events"), number(&went_on, "repeated")), (1, 1, 1));
    assert!(went_on.stderr.contains("was imported before it had its end"), "{}", went_on.stderr);
}

#[tokio::test]
async fn an_edit_is_refused_also_where_another_file_begins_alike() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let (whole, shorter) = (folder.path().join("whole"), folder.path().join("shorter"));
    std::fs::write(&shorter, events(0..5)).unwrap();
    std::fs::write(&whole, events(0..5) + &events(6..12)).unwrap();
    for file in [&whole, &shorter] {
        assert_eq!(run(import(daemon.url(), file, &[])).await.code, 0);
    }
    std::fs::write(&whole, events(0..5) + &events(7..12)).unwrap();
    let edited = run(import(daemon.url(), &whole, &[])).await;
    assert!(edited.code == 2 && edited.stderr.contains("has changed, or is gone"), "{}", edited.stderr);
}

#[tokio::test]
async fn lines_that_end_as_macs_wrote_them_grow_too_and_a_file_without_a_line_waits_for_nothing() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    for (lines, new) in [(3, 3), (5, 2)] {
        std::fs::write(&file, events(0..lines).replace('\n', "\r")).unwrap();
        let imported = run(import(daemon.url(), &file, &[])).await;
        assert_eq!((number(&imported, "events"), number(&imported, "unfinished")), (new, 0), "{}", imported.stderr);
    }
    for empty in ["", "\n\n"] {
        std::fs::write(&file, empty).unwrap();
        let imported = run(import(daemon.url(), &file, &[])).await;
        assert_eq!((imported.code, number(&imported, "unfinished")), (0, 0), "{}", imported.stderr);
    }
}
