use std::time::Duration;

use db::{Flavour, Ingested, Retention, SettleOutcome, Settler, Writer};
use harness::{TestDatabase, on_both_flavours};
use model::{Event, EventKind, Hour, SiteEvent, SiteId, Timestamp, UserName};

use crate::{Run, command};

on_both_flavours!(hours_that_differ_from_their_raw_events_are_shown_and_repaired);

pub(crate) const TEN: i64 = 1_431_856_800_000;
pub(crate) const HOUR: i64 = 3_600_000;

async fn verify(database: &TestDatabase, arguments: &[&str]) -> Run {
    let mut command = command(&["verify"]);
    command.args(arguments).env("DATABASE_URL", database.url());
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// Three clicks and an impression of two users in each of the hours 10, 11 and 12 of 2015-05-17, of which the first
/// is settled.
pub(crate) async fn database_with_three_hours(flavour: Flavour) -> TestDatabase {
    let database = TestDatabase::new(flavour).await;
    let event = |millis, user: &str, kind| {
        let at = Timestamp::from_millis(millis).unwrap();
        SiteEvent::nameless(Event { at, user: UserName::new(user).unwrap(), kind })
    };
    let events: Vec<SiteEvent> = [TEN, TEN + HOUR, TEN + 2 * HOUR]
        .into_iter()
        .flat_map(|at| {
            let anna = || event(at, "anna", EventKind::Click);
            [anna(), anna(), anna(), event(at + HOUR - 1, "ben", EventKind::Impression)]
        })
        .collect();
    let mut writer = Writer::new(database.store().clone());
    assert_eq!(writer.ingest(&events).await.unwrap(), Ingested::Stored);
    settle(&database, TEN).await;
    database
}

/// A settler that was dropped a moment ago is it until the server notices that its connection is closed.
pub(crate) async fn settle(database: &TestDatabase, at: i64) {
    let hour = Hour::containing(Timestamp::from_millis(at).unwrap());
    let settler = loop {
        if let Some(settler) = Settler::elect(database.store()).await.unwrap() {
            break settler;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let outcome = settler.settle(hour, &[SiteId::NAMELESS]).await.unwrap();
    assert_eq!(outcome, [(SiteId::NAMELESS, SettleOutcome::Settled)]);
}

async fn hours_that_differ_from_their_raw_events_are_shown_and_repaired(flavour: Flavour) {
    let database = database_with_three_hours(flavour).await;
    let clean = verify(&database, &[]).await;
    assert_eq!((clean.code, clean.stdout.as_str()), (0, ""), "{}", clean.stderr);
    assert_eq!(clean.stderr, "verified 3 hours, 12 events; 0 differ\n");

    let client = database.client().await;
    for statement in [
        "update analytics.hour_counts set clicks = clicks + 1 where hour = '2015-05-17T11:00Z'",
        "update analytics.hour_users set user_name = 'eve' where hour = '2015-05-17T11:00Z' and user_name = 'ben'",
        "delete from analytics.events where at = '2015-05-17T10:59:59.999Z'",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let tampered = verify(&database, &[]).await;
    assert_eq!(tampered.code, 1, "{}", tampered.stderr);
    assert_eq!(tampered.stderr, "verified 3 hours, 11 events; 2 differ\n");
    insta::allow_duplicates! { insta::assert_snapshot!("differences", tampered.stdout) };

    let part = verify(&database, &["--from", "2015-05-17T12:30:00Z", "--to", "now"]).await;
    assert_eq!((part.code, part.stderr.as_str()), (0, "verified 1 hours, 4 events; 0 differ\n"));
    let part = verify(&database, &["--to", "2015-05-17T11:00:00Z", "--format", "csv"]).await;
    assert_eq!((part.code, part.stdout.lines().count()), (1, 3), "a header and two hours");

    let left = verify(&database, &["--repair"]).await;
    assert_eq!(left.code, 1, "both would fall: {}", left.stderr);
    insta::allow_duplicates! { insta::assert_snapshot!("left_as_they_are", left.stderr) };
    let one =
        verify(&database, &["--repair", "--accept-loss", "2015-05-17T11:30:00Z", "--from", "2015-05-17T11:00:00Z"])
            .await;
    assert_eq!(one.stderr, "2015-05-17T11:00:00Z: repaired\nverified 2 hours, 8 events; 1 differ, 1 repaired\n");
    let without_repair = verify(&database, &["--accept-loss", "2015-05-17T10:00:00Z"]).await;
    assert_eq!(without_repair.code, 2, "{}", without_repair.stderr);

    let repaired = verify(&database, &["--repair", "--accept-loss", "2015-05-17T10:00:00Z,2015-05-17T11:00:00Z"]).await;
    assert_eq!(repaired.code, 0, "{}", repaired.stderr);
    assert_eq!(repaired.stderr, "2015-05-17T10:00:00Z: repaired\nverified 3 hours, 11 events; 1 differ, 1 repaired\n");
    let clean = verify(&database, &["--format", "json"]).await;
    assert_eq!((clean.code, clean.stdout.as_str()), (0, ""), "{}", clean.stderr);
}

#[tokio::test]
async fn hours_whose_raw_events_are_gone_are_counted_as_skipped() {
    let database = database_with_three_hours(Flavour::Postgres).await;
    for at in [TEN + HOUR, TEN + 2 * HOUR] {
        settle(&database, at).await;
    }
    let keep = Some(Duration::from_hours(24 * 30));
    Retention { keep, columnstore_after: None }.write(database.store()).await.unwrap();
    Retention::apply(database.store()).await.unwrap();
    let skipped = verify(&database, &["--repair"]).await;
    assert_eq!((skipped.code, skipped.stdout.as_str()), (0, ""));
    assert_eq!(
        skipped.stderr,
        "verified 0 hours, 0 events; 0 differ; 3 hours skipped: their raw events were deleted\n"
    );
}

/// The reader of the differences may go away before the last of them; what is found is found all the same.
#[tokio::test]
async fn a_reader_that_has_seen_enough_does_not_make_differences_a_success() {
    let database = database_with_three_hours(Flavour::Postgres).await;
    let tamper = "update analytics.hour_counts set clicks = clicks + 1";
    database.client().await.batch_execute(tamper).await.unwrap();
    let mut command = command(&["verify", "--format", "csv"]);
    command.env("DATABASE_URL", database.url());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn without_the_schema_the_error_names_migrate_up() {
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let run = verify(&database, &[]).await;
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("analytics-cli migrate up"), "{}", run.stderr);
}

#[tokio::test]
async fn a_visitor_is_forgotten_only_when_that_is_confirmed() {
    let database = database_with_three_hours(Flavour::Postgres).await;
    let forget = async |more: &[&str]| -> Run {
        let mut command = command(&["forget", "ben"]);
        command.args(more).env("DATABASE_URL", database.url());
        tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
    };
    let shown = forget(&[]).await;
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    insta::assert_snapshot!(shown.stdout + &shown.stderr, @"
    2015-05-17T10:00:00Z: events found: 1
    2015-05-17T11:00:00Z: events found: 1
    2015-05-17T12:00:00Z: events found: 1
    events: 3, in hours: 3; give --yes to delete them
    sets of visitors know this visitor by a number, which stays; --yes deletes the name
    ");
    let deleted = forget(&["--yes"]).await;
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    insta::assert_snapshot!(deleted.stdout + &deleted.stderr, @"
    2015-05-17T10:00:00Z: events deleted, hour rebuilt: 1
    2015-05-17T11:00:00Z: events deleted, hour rebuilt: 1
    2015-05-17T12:00:00Z: events deleted, hour rebuilt: 1
    events: 3, in hours: 3; all are deleted
    sets of visitors know this visitor by a number, which stays; the name is deleted
    ");
    assert_eq!(forget(&["--yes"]).await.stderr, "events: 0, in hours: 0; all are deleted\n");
    assert_eq!(verify(&database, &[]).await.stderr, "verified 3 hours, 9 events; 0 differ\n");
}
