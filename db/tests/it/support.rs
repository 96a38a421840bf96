use std::time::Duration;

use chrono::{DateTime, Utc};
use db::{Fate, Flavour, Ingested, SettleOutcome, Settler, Store, StoreOptions, WriteError, Writer};
use model::{Event, EventKind, Hour, HourCounts, SiteEvent, SiteHour, SiteId, Timestamp, UserName};
use tokio_postgres::Client;

pub(crate) fn at(rfc3339: &str) -> Timestamp {
    let at: DateTime<Utc> = rfc3339.parse().unwrap();
    Timestamp::from_millis(at.timestamp_millis()).unwrap()
}

/// Of the site without a name, as everything here that names none.
pub(crate) fn hour(rfc3339: &str) -> SiteHour {
    SiteHour::nameless(Hour::containing(at(rfc3339)))
}

pub(crate) fn click(rfc3339: &str, user: &str) -> SiteEvent {
    event(at(rfc3339), user, EventKind::Click)
}

pub(crate) fn impression(rfc3339: &str, user: &str) -> SiteEvent {
    event(at(rfc3339), user, EventKind::Impression)
}

pub(crate) fn event(at: Timestamp, user: &str, kind: EventKind) -> SiteEvent {
    SiteEvent::nameless(Event { at, user: UserName::new(user).unwrap(), kind })
}

pub(crate) fn site(number: i32) -> SiteId {
    SiteId::new(number).unwrap()
}

pub(crate) fn counts(unique_users: u64, clicks: u64, impressions: u64) -> HourCounts {
    HourCounts { unique_users, clicks, impressions }
}

pub(crate) fn writer(store: &Store) -> Writer {
    Writer::new(store.clone())
}

/// Stores events as the daemon does: hours that are settled are reopened first.
pub(crate) async fn store_all(writer: &mut Writer, events: &[SiteEvent]) {
    loop {
        let outcome = match writer.ingest(events).await {
            // As on the partition of a day that another session just made, of which this one has not been told yet.
            Err(WriteError::Undecided(undecided)) => {
                match undecided.find_out(&writer.store().clone(), Duration::from_secs(10)).await {
                    Fate::Stored { .. } => return,
                    Fate::NotStored { .. } => continue,
                    Fate::Unknown { cause, .. } => panic!("{cause}"),
                }
            }
            outcome => outcome.unwrap(),
        };
        match outcome {
            Ingested::Stored => return,
            Ingested::Blocked { settled, expired, deleted } => {
                assert_eq!(expired, [], "no hour of this test is past its retention");
                assert_eq!(deleted, [], "no site of this test is deleted");
                for (hour, sites) in SiteHour::by_hour(settled) {
                    writer.store().reopen(hour, &sites).await.unwrap();
                }
            }
            other @ (Ingested::Claimed { .. } | Ingested::Moved(_)) => panic!("{other:?} although nothing is claimed"),
        }
    }
}

/// The one settler. One that was dropped a moment ago is it until the server notices that its connection is closed.
pub(crate) async fn settler(store: &Store) -> Settler {
    for _ in 0..1_000 {
        if let Some(settler) = Settler::elect(store).await.unwrap() {
            return settler;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("somebody else settles in this database");
}

/// Settles an hour that nobody writes to.
pub(crate) async fn settle(store: &Store, hour: SiteHour) {
    assert_eq!(outcome(&settler(store).await, hour).await, Some(SettleOutcome::Settled));
}

/// What comes of settling one hour of one site; none if it is not open.
pub(crate) async fn outcome(settler: &Settler, SiteHour { hour, site }: SiteHour) -> Option<SettleOutcome> {
    let outcomes = settler.settle(hour, &[site]).await.unwrap();
    assert!(outcomes.len() <= 1, "{outcomes:?}");
    outcomes.first().map(|(_, outcome)| *outcome)
}

/// Reopens an hour of one site. False if raw events of it are missing.
pub(crate) async fn reopen(store: &Store, SiteHour { hour, site }: SiteHour) -> bool {
    store.reopen(hour, &[site]).await.unwrap().is_empty()
}

/// Checks the answer to a GET against a count over the raw events, for every hour that has any.
pub(crate) async fn assert_counts_equal_brute_force(store: &Store) {
    for (hour, expected) in store.brute_force_counts().await.unwrap() {
        assert_eq!(store.counts(&[hour]).await.unwrap(), [expected], "{hour}");
    }
}

/// Whether logins and transactions can be told apart: in WebAssembly everybody is the superuser, in one session.
pub(crate) fn has_logins(flavour: Flavour) -> bool {
    flavour == Flavour::Postgres || std::env::var_os("TEST_TIMESCALE_URL").is_some()
}

pub(crate) fn store_of(url: &str) -> Store {
    Store::new(url, StoreOptions::default()).unwrap()
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
