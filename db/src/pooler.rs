//! Whether connections to a database are sessions, or something between hands sessions out by the transaction.

use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::{Store, StoreError};

/// How long the whole look may take: some fifteen ways there and back, over whatever way that is.
const PATIENCE: Duration = Duration::from_secs(30);
/// Which of two connections asks next. With a backend for both, the second sees what the first saw; with backends that are given out in turn, or at
/// random, the one that asks twice sees another the second time.
const TURNS: [usize; 7] = [0, 1, 1, 0, 0, 1, 0];
/// Names the process of the server that answers, on whichever server, so that numbers which two of them have by chance are not taken for one.
const WHO: &str = "select pg_backend_pid()::text || ' ' || pg_postmaster_start_time()::text || ' ' || \
                   coalesce((select backend_start::text from pg_stat_get_activity(pg_backend_pid())), '')";

/// Connections that are not sessions, as behind a pooler that gives a session out for a transaction at a time.
///
/// It is recognized by what it does, not by its name: two connections that are open at the same time are two processes of the server, each keeps its
/// own, and what a session was told stays. What is not seen is a pooler that has a process for each of the two and happens to give each its own
/// again every time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the connections are not sessions of their own ({seen}): something between hands sessions out by the transaction, as PgBouncer, Odyssey or PgDog do with \
     pool_mode = transaction, Supavisor at port 6543, and RDS Proxy. Locks, settings and prepared statements would be lost or be somebody else's. {}",
    Self::REMEDY
)]
pub struct SharedSessions {
    /// What was seen.
    pub seen: &'static str,
}

impl SharedSessions {
    /// What to do.
    pub const REMEDY: &str = "Name the address of the database itself, or of a pool of sessions (pool_mode = session, Supavisor at port 5432) with \
                              room for 22 connections of each daemon";
}

/// Finds out whether connections to a database are sessions of their own. Leaves nothing behind.
pub async fn sessions(store: &Store) -> Result<Result<(), SharedSessions>, StoreError> {
    timeout(PATIENCE, async {
        let clients = tokio::try_join!(store.plain_client(), store.plain_client())?;
        look([&clients.0, &clients.1]).await
    })
    .await
    .unwrap_or(Err(StoreError::TimedOut(PATIENCE)))
}

async fn look(clients: [&Client; 2]) -> Result<Result<(), SharedSessions>, StoreError> {
    // There all clients share the one session that there is, behind a front that is made for it.
    if text(clients[0], "select (version() ~* 'wasm|emscripten')::text").await? == "true" {
        return Ok(Ok(()));
    }
    let mut known: [Option<String>; 2] = [None, None];
    for turn in TURNS {
        let seen = text(clients[turn], WHO).await?;
        if known[1 - turn].as_ref() == Some(&seen) {
            return Ok(Err(SharedSessions { seen: "two of them were answered by the same process of the server" }));
        }
        if known[turn].as_ref().is_some_and(|before| *before != seen) {
            return Ok(Err(SharedSessions { seen: "one of them was answered by two processes of the server" }));
        }
        known[turn] = Some(seen);
    }
    for (client, own) in clients.into_iter().zip(["one", "other"]) {
        text(client, &format!("select set_config('analytics.probe', '{own}', false)")).await?;
    }
    for (client, own) in clients.into_iter().zip(["one", "other"]) {
        if text(client, "select current_setting('analytics.probe', true)").await? != own {
            return Ok(Err(SharedSessions { seen: "a setting of one of them did not stay" }));
        }
    }
    Ok(Ok(()))
}

/// The one value that a statement returns, whatever limit the login has. It is not prepared: what is looked for would lose it.
async fn text(client: &Client, statement: &str) -> Result<String, StoreError> {
    let answer = client.simple_query(&format!("set local statement_timeout = 0; {statement}")).await?;
    let value = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(value.unwrap_or_default().to_owned())
}
