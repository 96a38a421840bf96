//! No clock deletes raw events by itself.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use db::{
    Flavour, Ingested, Retention, Store, StoreOptions,
    embedded::{Embedded, EmbeddedKind, EmbeddedOptions, PostgresBinaries},
    schema,
};
use harness::{TestDatabase, on_both_flavours, server_dir};
use model::{EventKind, SiteEvent, SiteId, Timestamp};
use tokio_postgres::Client;

use crate::support::{assert_counts_equal_brute_force, click, event, settle, settler, store_all, writer};

on_both_flavours!(
    what_is_due_moves_by_itself_only_as_far_as_both_clocks_went_on_and_two_days_at_most,
    a_bound_in_the_future_is_told_and_taken_back_to_the_oldest_raw_events,
);

fn days(days: i64) -> TimeDelta {
    TimeDelta::days(days)
}

/// What is due is reckoned in days of UTC, of which none may end in the middle of a test.
async fn away_from_the_end_of_the_day() {
    let left = today() + days(1) - Utc::now();
    if left < TimeDelta::minutes(1) {
        tokio::time::sleep((left + TimeDelta::milliseconds(100)).to_std().unwrap()).await;
    }
}

fn today() -> DateTime<Utc> {
    Utc::now().date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

async fn keep(store: &Store, days: u32) {
    let keep = Some(Duration::from_hours(24) * days);
    Retention { keep, ..Retention::read(store).await.unwrap() }.write(store).await.unwrap();
}

fn event_at(at: DateTime<Utc>, user: &str) -> SiteEvent {
    event(Timestamp::from_millis(at.timestamp_millis()).unwrap(), user, EventKind::Click)
}

/// Where raw events are due, and what the two clocks said then, in days from now.
async fn stand(client: &Client, due: i64, by_database: Option<i64>, by_daemon: Option<i64>) {
    client
        .execute(
            "update analytics.settings set accepts_from = $4, due_before = $1, due_by_database = $2, due_by_daemon = $3",
            &[
                &(today() + days(due)),
                &by_database.map(|ago| Utc::now() + days(ago)),
                &by_daemon.map(|ago| Utc::now() + days(ago)),
                &DateTime::UNIX_EPOCH,
            ],
        )
        .await
        .unwrap();
}

async fn what_is_due_moves_by_itself_only_as_far_as_both_clocks_went_on_and_two_days_at_most(flavour: Flavour) {
    away_from_the_end_of_the_day().await;
    let database = TestDatabase::new(flavour).await;
    let (store, client) = (database.store(), database.client().await);
    keep(store, 30).await;
    assert_eq!(
        Retention::due(store).await.unwrap().before,
        Some(today() - days(30)),
        "a command confirms what it says"
    );
    for (due, by_database, by_daemon, moved, why) in [
        (-31, Some(-1), Some(-1), -30, "an ordinary day"),
        (-32, Some(-2), Some(-2), -30, "two days"),
        (-31, None, None, -30, "a database of the version before"),
        (-33, Some(-3), Some(-3), -33, "three days wait for somebody's word"),
        (-530, Some(-500), Some(-500), -530, "and so do 500"),
        (-31, Some(-1), Some(0), -31, "the daemon's clock stood still"),
        (-31, Some(0), Some(-1), -31, "the database's clock stood still"),
        (-32, Some(-1), Some(-2), -31, "one of the clocks went on by a day only"),
        (-400, Some(-1), Some(-1), -399, "somebody shortened the setting by hand"),
        (-20, Some(-1), Some(-1), -20, "it never goes back"),
    ] {
        stand(&client, due, by_database, by_daemon).await;
        let applied = Retention::apply(store).await.unwrap();
        assert_eq!(applied.due.before, Some(today() + days(moved)), "{why}");
        assert_eq!(applied.kept_from, today() + days(moved), "{why}");
        let unconfirmed = (moved < -32).then(|| today() - days(30));
        assert_eq!(applied.due.unconfirmed(), unconfirmed, "{why}");
    }
    stand(&client, -530, Some(-500), Some(-500)).await;
    Retention::confirm(store).await.unwrap();
    assert_eq!(Retention::apply(store).await.unwrap().kept_from, today() - days(30));

    // A daemon whose clock is ahead deletes nothing: the earlier clock counts.
    client.execute("select analytics.advance_retention($1::timestamptz)", &[&(Utc::now() + days(500))]).await.unwrap();
    assert_eq!(Retention::due(store).await.unwrap().before, Some(today() - days(30)));
    let clocks_differ = client.execute("select analytics.confirm_retention($1)", &[&(Utc::now() + days(1))]).await;
    assert_eq!(clocks_differ.unwrap_err().code().map(|code| code.code().to_owned()).as_deref(), Some("AN008"));
}

async fn a_bound_in_the_future_is_told_and_taken_back_to_the_oldest_raw_events(flavour: Flavour) {
    away_from_the_end_of_the_day().await;
    let database = TestDatabase::new(flavour).await;
    let (store, client) = (database.store(), database.client().await);
    keep(store, 30).await;
    let wrong = today() + days(470);
    // What a version before left behind after its clock was 500 days ahead.
    client.execute("update analytics.settings set accepts_from = $1", &[&wrong]).await.unwrap();
    assert_eq!(Retention::due(store).await.unwrap().in_the_future(), Some(wrong));
    let now = event_at(Utc::now(), "anna");
    let mut events = writer(store);
    assert!(
        matches!(events.ingest([&now]).await.unwrap(), Ingested::Blocked { expired, .. } if expired == [now.site_hour()])
    );

    Retention::confirm(store).await.unwrap();
    let due = Retention::due(store).await.unwrap();
    assert_eq!((due.in_the_future(), due.accepts_from), (None, Some(today())), "no raw events are left");
    store_all(&mut events, &[now]).await;
    // Where some are left, it goes back to the first of their days.
    let before = event_at(today() - days(3), "ben");
    client.execute("update analytics.settings set accepts_from = $1", &[&(today() - days(5))]).await.unwrap();
    store_all(&mut events, std::slice::from_ref(&before)).await;
    client.execute("update analytics.settings set accepts_from = $1", &[&wrong]).await.unwrap();
    Retention::confirm(store).await.unwrap();
    assert_eq!(Retention::due(store).await.unwrap().accepts_from, Some(today() - days(3)));
    assert_counts_equal_brute_force(store).await;
}

/// A server whose clock is moved while it runs, by the library of Debian's package `faketime`.
struct SteppedServer {
    server: Embedded,
    clock: PathBuf,
    _dir: tempfile::TempDir,
}

impl SteppedServer {
    /// None where the library is not installed.
    async fn start() -> Option<Self> {
        let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|machine| format!("/usr/lib/{machine}/faketime/libfaketime.so.1"))
            .into_iter()
            .find(|library| Path::new(library).exists())?;
        let installed = PostgresBinaries::find().expect("PostgreSQL is installed");
        let dir = server_dir();
        let (clock, binaries) = (dir.path().join("clock"), dir.path().join("bin"));
        fs::write(&clock, "+0").unwrap();
        fs::create_dir(&binaries).unwrap();
        fs::set_permissions(&binaries, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(installed.path("initdb"), binaries.join("initdb")).unwrap();
        let wrapper = binaries.join("postgres");
        let script = format!(
            "#!/bin/sh\nexport LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 \
             FAKETIME_DONT_FAKE_MONOTONIC=1\nexec {} \"$@\"\n",
            clock.display(),
            installed.path("postgres").display(),
        );
        fs::write(&wrapper, script).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        let options = EmbeddedOptions {
            postgres_bin: Some(binaries),
            kind: Some(EmbeddedKind::Native),
            ..harness::embedded_options(dir.path(), Flavour::Postgres)
        };
        Some(Self { server: Embedded::start(&options).await.unwrap(), clock, _dir: dir })
    }

    /// Moves the clock, and returns when the server goes by it.
    async fn step(&self, client: &Client, days: i64) {
        let unfinished = self.clock.with_extension("new");
        fs::write(&unfinished, format!("{days:+}d")).unwrap();
        fs::rename(&unfinished, &self.clock).unwrap();
        loop {
            let says: DateTime<Utc> = client.query_one("select clock_timestamp()", &[]).await.unwrap().get(0);
            if (says - Utc::now() - TimeDelta::days(days)).abs() < TimeDelta::hours(1) {
                return;
            }
        }
    }
}

/// It deleted every raw event, and every event was refused for months afterwards.
#[tokio::test]
async fn a_database_whose_clock_is_500_days_ahead_for_a_while_deletes_nothing_refuses_nothing_and_settles_afterwards() {
    away_from_the_end_of_the_day().await;
    let Some(stepped) = SteppedServer::start().await else {
        eprintln!("SKIPPED: Debian's package faketime is not installed");
        return;
    };
    let store = Store::new(stepped.server.url(), StoreOptions::default()).unwrap();
    schema::migrate(&store, Some(Flavour::Postgres)).await.unwrap();
    let (client, connection) = tokio_postgres::connect(stepped.server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut events = writer(&store);
    let yesterday = event_at(Utc::now() - days(1), "anna");
    store_all(&mut events, &[yesterday.clone(), click("2015-05-17T10:00:00Z", "anna")]).await;
    settle(&store, click("2015-05-17T10:00:00Z", "anna").site_hour()).await;
    keep(&store, 30).await;
    let before = Retention::apply(&store).await.unwrap();
    assert_eq!(before.kept_from, today() - days(30));

    stepped.step(&client, 500).await;
    settle(&store, yesterday.site_hour()).await;
    for _ in 0..2 {
        let ahead = Retention::apply(&store).await.unwrap();
        assert_eq!((ahead.kept_from, ahead.due.before), (before.kept_from, before.due.before));
    }
    let wrong = Retention::confirm(&store).await.unwrap_err().to_string();
    assert!(wrong.contains("until they agree"), "{wrong}");
    store_all(&mut events, &[event_at(Utc::now(), "ben"), event_at(Utc::now() - days(1), "ben")]).await;

    stepped.step(&client, 0).await;
    let after = Retention::apply(&store).await.unwrap();
    assert_eq!((after.kept_from, after.due.unconfirmed()), (before.kept_from, None));
    store_all(&mut events, &[event_at(Utc::now(), "carl")]).await;
    assert_counts_equal_brute_force(&store).await;
    let left = client.query_one("select count(*) from analytics.events", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 4, "those of 2015 were due");
    // That it was written when the clock was ahead says nothing.
    let settler = settler(&store).await;
    let ripe = settler.ripe_hours(Duration::ZERO, &[], 10).await.unwrap();
    assert_eq!(ripe, [(yesterday.site_hour().hour, vec![SiteId::NAMELESS])]);
    assert_eq!(settler.backlog(Duration::ZERO).await.unwrap().ripe_hours, 1);

    // Events are of the daemon's now, whatever the database believes that it is.
    stepped.step(&client, -100).await;
    store_all(&mut events, &[event_at(Utc::now(), "dora")]).await;
    events.prove().await.unwrap();
    stepped.server.stop().await.unwrap();
}
