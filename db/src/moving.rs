//! Moves a shard to another server: PostgreSQL's replication copies it there, and this sees to it that nothing is stored in the copy that is left behind.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Misplaced, Shards, ShardsError, Store, StoreError};

/// How long sessions may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// A shard in which nothing is stored any more where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The server on which it was left, as it stands in its URL.
    pub server: String,
    /// How many sessions were ended.
    pub ended: u64,
    /// Logins with sessions that could not be ended, for lack of rights.
    pub remaining: Vec<String>,
    /// Where the server's log ends. A standby that has replayed it has everything that was acknowledged.
    pub log_position: String,
}

impl Shards {
    /// Notes on which servers a shard is used from now on, each as it stands in URLs that lead there (HOST:PORT, or FOLDER:PORT of a socket); none for
    /// wherever it is. Ends every session of it on a server that is not one of them: from then on it refuses connections there, and stores nothing.
    /// Other shards may be away.
    pub async fn move_shard(&self, shard: usize, lives_at: Option<&[String]>) -> Result<Left, ShardsError> {
        self.verify_around(shard).await?;
        self[shard].leave(lives_at).await.map_err(|error| self.error(shard, error))
    }

    /// Refuses a list that is wrong, but not because shards were moved already: those of one instance move one after the other.
    async fn verify_around(&self, shard: usize) -> Result<(), ShardsError> {
        match self.verify().await {
            Err(ShardsError::Misplaced(mut misplaced)) => {
                misplaced.retain(|it| !matches!(it.fault, Misplaced::Moved { .. }));
                if misplaced.is_empty() { Ok(()) } else { Err(ShardsError::Misplaced(misplaced)) }
            }
            Err(ShardsError::Store(place, error)) if place != self.place(shard) => {
                tracing::warn!("{place}{error}");
                Ok(())
            }
            verified => verified,
        }
    }
}

impl Store {
    async fn leave(&self, lives_at: Option<&[String]>) -> Result<Left, StoreError> {
        let client = self.without_identity().maintenance_client().await?;
        let server = client.server().to_owned();
        let stays = lives_at.is_none_or(|servers| servers.contains(&server));
        self.bounded(async {
            client.execute("update analytics.settings set lives_at = $1", &[&lives_at]).await?;
            let mut ended = 0;
            let began = Instant::now();
            let remaining = loop {
                // A session that began before the line above was written may still store.
                let others: Vec<(i32, String)> = if stays {
                    Vec::new()
                } else {
                    let others = "select pid, coalesce(usename, '') from pg_stat_activity \
                                  where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'";
                    client.query(others, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect()
                };
                if others.is_empty() || began.elapsed() > PATIENCE {
                    break others.into_iter().map(|(_, login)| login).collect();
                }
                for (pid, _) in others {
                    match client.query_one("select pg_terminate_backend($1)", &[&pid]).await {
                        Ok(row) => ended += u64::from(row.get::<_, bool>(0)),
                        Err(error) => match StoreError::from(error) {
                            StoreError::Forbidden(_) => {}
                            other => return Err(other),
                        },
                    }
                }
                sleep(PAUSE).await;
            };
            let log_position = client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?.get(0);
            Ok(Left { server, ended, remaining, log_position })
        })
        .await
    }
}
