use db::{Flavour, UniqueUsers};
use harness::{TestDatabase, on_both_flavours};
use model::{Hour, SiteId, Timestamp};

use crate::{
    Run, command,
    verify::{HOUR, TEN, database_with_three_hours, settle},
};

on_both_flavours!(sets_of_visitors_are_made_where_raw_events_still_tell_them);

async fn run(database: &TestDatabase, arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.env("DATABASE_URL", database.url());
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

async fn backfill(database: &TestDatabase) -> Run {
    run(database, &["backfill"]).await
}

/// As hours are that were settled before sets were kept.
pub(crate) const LOSE_SETS: &str = "update analytics.settled_hours set visitors = null; \
                                    update analytics.day_visitors set visitors = null, changes = changes + 1";

async fn users(database: &TestDatabase, hours: i64) -> UniqueUsers {
    let hour = |millis| Hour::containing(Timestamp::from_millis(millis).unwrap());
    let range = hour(TEN)..=hour(TEN + (hours - 1) * HOUR);
    database.store().range_counts(SiteId::NAMELESS, &range).await.unwrap().unique_users
}

async fn sets_of_visitors_are_made_where_raw_events_still_tell_them(flavour: Flavour) {
    let database = database_with_three_hours(flavour).await;
    settle(&database, TEN + HOUR).await;
    let nothing = backfill(&database).await;
    let said = (nothing.code, nothing.stdout.as_str(), nothing.stderr.as_str());
    assert_eq!(said, (0, "", "sets of visitors made: 0\n"));

    let client = database.client().await;
    client.batch_execute(LOSE_SETS).await.unwrap();
    let tamper = "delete from analytics.events where at = '2015-05-17T11:59:59.999Z'";
    client.batch_execute(tamper).await.unwrap();
    assert!(matches!(users(&database, 2).await, UniqueUsers::Unknown(hours) if hours.len() == 2));
    let hours: Vec<_> = [10, 11].map(|hour| format!("2015-05-17T{hour}:00:00Z").parse::<Hour>().unwrap()).into();
    let hours: Vec<_> = hours.into_iter().map(|hour| hour..=hour).collect();
    let counts = database.store().period_counts(SiteId::NAMELESS, &hours).await.unwrap();
    let of_hours: Vec<UniqueUsers> = counts.periods.into_iter().map(|row| row.unique_users).collect();
    assert_eq!(of_hours, [UniqueUsers::Exactly(2), UniqueUsers::Exactly(2)], "what a single hour had stays known");
    assert!(matches!(counts.unique_users, UniqueUsers::Unknown(_)));
    let made = backfill(&database).await;
    assert_eq!(made.code, 1, "{}", made.stderr);
    insta::allow_duplicates! { insta::assert_snapshot!(made.stdout + &made.stderr, @"
    2015-05-17T10:00:00Z: set of visitors made
    2015-05-17T11:00:00Z: not made, because its raw events have another number of visitors than was settled
    sets of visitors made: 1
    warning: hours left whose raw events differ from what was settled: 1; `analytics-cli verify` shows the numbers
    ") };
    assert_eq!(users(&database, 1).await, UniqueUsers::Exactly(2));

    let repaired = run(&database, &["verify", "--repair", "--accept-loss", "2015-05-17T11:00:00Z"]).await;
    assert_eq!(repaired.code, 0, "{}", repaired.stderr);
    assert_eq!(backfill(&database).await.code, 0, "an open hour needs no set");
    assert_eq!(users(&database, 3).await, UniqueUsers::Exactly(2));

    settle(&database, TEN + HOUR).await;
    client.batch_execute(LOSE_SETS).await.unwrap();
    client.batch_execute("update analytics.settings set accepts_from = '2015-05-17T11:00:00Z'").await.unwrap();
    let gone = backfill(&database).await;
    assert_eq!(gone.code, 0, "{}", gone.stderr);
    insta::allow_duplicates! { insta::assert_snapshot!(gone.stdout + &gone.stderr, @"
    2015-05-17T11:00:00Z: set of visitors made
    sets of visitors made: 1
    hours left whose raw events were deleted: 1; the unique users of a range with one of them stay unknown
    ") };
}
