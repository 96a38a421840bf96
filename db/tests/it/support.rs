use std::time::Duration;

use chrono::{DateTime, Utc};
use db::{Fate, Flavour, Ingested, SettleOutcome, Settler, Store, StoreOptions, WriteError, Writer};
use model::{Event, EventKind, Hour, HourCounts, Timestamp, UserName};
use tokio_postgres::Client;

pub(crate) fn at(rfc3339: &str) -> Timestamp {
    let at: DateTime<Utc> = rfc3339.parse().unwrap();
    Timestamp::from_millis(at.timestamp_millis()).unwrap()
}

pub(crate) fn hour(rfc3339: &str) -> Hour {
    Hour::containing(at(rfc3339))
}

pub(crate) fn click(rfc3339: &str, user: &str) -> Event {
    Event { at: at(rfc3339), user: UserName::new(user).unwrap(), kind: EventKind::Click }
}

pub(crate) fn impression(rfc3339: &str, user: &str) -> Event {
    Event { kind: EventKind::Impression, ..click(rfc3339, user) }
}

pub(crate) fn counts(unique_users: u64, clicks: u64, impressions: u64) -> HourCounts {
    HourCounts { unique_users, clicks, impressions }
}

pub(crate) fn writer(store: &Store) -> Writer {
    Writer::new(store.clone())
}

/// Stores events as the daemon does: hours that are settled are reopened first.
pub(crate) async fn store_all(writer: &mut Writer, events: &[Event]) {
    loop {
        let outcome = match writer.ingest(events).await {
            // As on the partition of a day that another session just made, of which this one has not been told yet.
            Err(WriteError::Undecided(undecided)) => {
                match undecided.find_out(&writer.store().clone(), Duration::from_secs(10)).await {
                    Fate::Stored => return,
                    Fate::NotStored { .. } => continue,
                    Fate::Unknown { cause, .. } => panic!("{cause}"),
                }
            }
            outcome => outcome.unwrap(),
        };
        match outcome {
            Ingested::Stored => return,
            Ingested::Blocked { settled, expired } => {
                assert_eq!(expired, [], "no hour of this test is past its retention");
                for hour in settled {
                    writer.store().reopen(hour).await.unwrap();
                }
            }
            claimed @ Ingested::Claimed { .. } => panic!("{claimed:?} although nothing is claimed"),
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
pub(crate) async fn settle(store: &Store, hour: Hour) {
    assert_eq!(settler(store).await.settle(hour).await.unwrap(), SettleOutcome::Settled);
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
