use std::{fs, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use harness::Daemon;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use reqwest::StatusCode;
use tokio::time::sleep;

use crate::{
    small_disk::SmallDisk,
    spool::{Away, until_replayed},
    support::counts,
};

/// Enough that the spool is stored in several commits.
const SPOOLED: u64 = 3_000;

/// Sends events, many at a time, each of another user; returns how many of them were spooled.
async fn spool(daemon: &Daemon, at: DateTime<Utc>, events: u64) -> u64 {
    let client = reqwest::Client::new();
    let sent = (0..events).map(|_| {
        let user = format!("{:032x}{}", rand::random::<u128>(), "x".repeat(200));
        let query = format!("timestamp={}&user={user}&event=click", at.timestamp_millis());
        client.post(format!("{}/analytics?{query}", daemon.url())).send()
    });
    let answers: Vec<_> = stream::iter(sent).buffer_unordered(50).collect().await;
    // A daemon that does not know whether it wrote an event gives no answer.
    answers.iter().flatten().filter(|answer| answer.status() == StatusCode::ACCEPTED).count() as u64
}

async fn post_under_key(daemon: &Daemon, at: DateTime<Utc>, key: &str) -> StatusCode {
    let query = format!("timestamp={}&user=ben&event=click&id={key}", at.timestamp_millis());
    reqwest::Client::new().post(format!("{}/analytics?{query}", daemon.url())).send().await.unwrap().status()
}

/// The number of records in a copy of the spool's file, which may have been taken in the middle of a write.
fn records_in_file(disk: &SmallDisk) -> Option<u64> {
    let copy = tempfile::NamedTempFile::new().unwrap();
    fs::copy(disk.folder().join("spool/spool.redb"), copy.path()).unwrap();
    let records = Database::open(copy.path()).ok()?.begin_read().ok()?;
    records.open_table(TableDefinition::<u64, &[u8]>::new("records")).ok()?.len().ok()
}

#[tokio::test]
async fn a_full_disk_under_the_spool_does_not_delay_events_that_the_database_can_store() {
    let mut database = Away::not_yet().await;
    let Some(disk) = SmallDisk::mount(&database.dir.path().join("disk"), 6) else { return };
    let folder = disk.folder().join("spool");
    let now = Utc::now();
    let daemon = database.daemon_with_spool(&folder, &["--allow-anonymous"]).await;
    database.go().await;
    assert_eq!(spool(&daemon, now, SPOOLED).await, SPOOLED);
    disk.fill();
    // The free space within the file is used up as well.
    let mut spooled = SPOOLED;
    loop {
        match spool(&daemon, now, 100).await {
            0 => break,
            more => spooled += more,
        }
    }

    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(daemon.counts(now).await, counts(spooled, spooled, 0));
    while daemon.post(now, "anna", "click").await != StatusCode::NO_CONTENT {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(post_under_key(&daemon, now, "k").await, StatusCode::NO_CONTENT);
    daemon.kill().await;

    let daemon = database.daemon_with_spool(&folder, &["--allow-anonymous"]).await;
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
    until_replayed(&daemon).await;
    assert_eq!(post_under_key(&daemon, now, "l").await, StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(now).await, counts(spooled + 2, spooled + 4, 0), "nothing is stored twice");

    disk.give_back();
    while records_in_file(&disk) != Some(0) {
        sleep(Duration::from_millis(100)).await;
    }
    database.go().await;
    assert_eq!(daemon.post(now, "carl", "click").await, StatusCode::ACCEPTED);
    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(daemon.counts(now).await, counts(spooled + 3, spooled + 5, 0));
}

#[tokio::test]
async fn a_daemon_starts_on_a_full_disk_whose_blocks_are_smaller_than_the_pages_of_the_spool() {
    let mut database = Away::not_yet().await;
    let Some(disk) = SmallDisk::mount_with_small_blocks(&database.dir.path().join("disk"), 16) else { return };
    let folder = disk.folder().join("spool");
    let now = Utc::now();
    let daemon = database.daemon_with_spool(&folder, &["--allow-anonymous"]).await;
    database.go().await;
    assert_eq!(spool(&daemon, now, 100).await, 100);
    disk.fill();
    daemon.kill().await;

    let daemon = database.daemon_with_spool(&folder, &["--allow-anonymous"]).await;
    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(daemon.counts(now).await, counts(100, 100, 0));
}
