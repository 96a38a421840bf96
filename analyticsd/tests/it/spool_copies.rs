//! Older copies and twins of a spool's file, as a backup, a snapshot of a machine or a copied folder makes them.

use std::fs;

use chrono::Utc;
use reqwest::StatusCode;

use crate::{
    spool::{Away, until_replayed},
    support::counts,
};

/// For a daemon that starts before it ever read the tokens.
const OPEN: &[&str] = &["--allow-anonymous"];

#[tokio::test]
async fn records_of_an_older_copy_are_stored_though_their_numbers_were_stored_before() {
    let mut database = Away::not_yet().await;
    database.go().await;
    let (file, older) = (database.dir.path().join("spool/spool.redb"), database.dir.path().join("older"));
    let now = Utc::now();
    let daemon = database.daemon(&[]).await;
    assert_eq!(daemon.post(now, "first", "click").await, StatusCode::ACCEPTED);
    daemon.kill().await;
    fs::copy(&file, &older).unwrap();
    let daemon = database.daemon(&[]).await;
    for user in ["second", "third", "fourth"] {
        assert_eq!(daemon.post(now, user, "click").await, StatusCode::ACCEPTED);
    }
    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(daemon.counts(now).await, counts(4, 4, 0));
    daemon.kill().await;

    database.go().await;
    fs::copy(&older, &file).unwrap();
    let daemon = database.daemon(&[]).await;
    for user in ["fifth", "sixth"] {
        assert_eq!(daemon.post(now, user, "click").await, StatusCode::ACCEPTED);
    }
    database.come_back().await;
    until_replayed(&daemon).await;
    assert_eq!(
        daemon.counts(now).await,
        counts(6, 6, 0),
        "what the copy took is stored, and what it held not once more"
    );
}

#[tokio::test]
async fn two_daemons_with_copies_of_one_spool_store_shared_records_once_and_their_own_too() {
    let mut database = Away::not_yet().await;
    database.go().await;
    let (spool, twins) = (database.dir.path().join("spool"), database.dir.path().join("twin"));
    let now = Utc::now();
    let daemon = database.daemon(&[]).await;
    for user in ["a", "b", "c"] {
        assert_eq!(daemon.post(now, user, "click").await, StatusCode::ACCEPTED);
    }
    daemon.kill().await;
    fs::create_dir(&twins).unwrap();
    fs::copy(spool.join("spool.redb"), twins.join("spool.redb")).unwrap();
    let (daemon, twin) = tokio::join!(database.daemon(&[]), database.daemon_with_spool(&twins, OPEN));
    for (daemon, user) in [(&daemon, "d"), (&twin, "e"), (&twin, "f")] {
        assert_eq!(daemon.post(now, user, "click").await, StatusCode::ACCEPTED);
    }
    database.come_back().await;
    tokio::join!(until_replayed(&daemon), until_replayed(&twin));
    assert_eq!(daemon.counts(now).await, counts(6, 6, 0));
}
