//! What the scenarios do to the database behind the daemon's back, and what they look up there. All SQL of this crate is here.

use std::time::Duration;

use anyhow::bail;
use model::Hour;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use crate::postgres::AUDITOR;

/// How long statements that nobody waits for any more may go on.
const PATIENCE: Duration = Duration::from_mins(2);

/// A connection past the daemon.
pub struct Saboteur {
    client: Client,
}

impl Saboteur {
    /// Connects as the superuser of a private server.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let mut config: tokio_postgres::Config = url.parse()?;
        config.application_name(AUDITOR);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            // The client sees the same error in its next call.
            let _ = connection.await;
        });
        Ok(Self { client })
    }

    /// Ends one of the daemons' connections, any one, and returns whether there was one.
    pub async fn terminate_a_connection(&self) -> anyhow::Result<bool> {
        let terminated = self
            .client
            .query_opt(
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where datname = current_database() and application_name = 'analyticsd' order by random() limit 1",
                &[],
            )
            .await?;
        Ok(terminated.is_some_and(|row| row.get(0)))
    }

    /// Waits until no statement that stores events, with keys or without, is under way any more, as one may be after its daemon was killed.
    pub async fn wait_for_rest(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let busy: i64 = self
                .client
                .query_one(
                    "select count(*) from pg_stat_activity where datname = current_database() and state <> 'idle' \
                     and pid <> pg_backend_pid() and query ~ 'analytics\\.ingest(_once)?\\('",
                    &[],
                )
                .await?
                .get(0);
            if busy == 0 {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("{busy} statements still stored events after {PATIENCE:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets the server's log take less space than a small disk has, where it would take a gigabyte by itself.
    pub async fn keep_log_small(&self) -> anyhow::Result<()> {
        // Each is refused where it is not the only statement of its transaction.
        for statement in [
            "alter system set min_wal_size = '32MB'",
            "alter system set max_wal_size = '48MB'",
            "select pg_reload_conf()",
        ] {
            self.client.batch_execute(statement).await?;
        }
        Ok(())
    }

    /// Makes the server begin a new file of its log. On a full disk it cannot, and crashes.
    pub async fn begin_new_log_file(&self) -> anyhow::Result<()> {
        // It begins none while nothing was written to the last, which would make this do nothing.
        Ok(self.client.batch_execute("select pg_logical_emit_message(false, '', ''); select pg_switch_wal()").await?)
    }

    /// How many deadlocks the database has broken since it last recovered from a crash. It says so up to a second late.
    pub async fn deadlocks(&self) -> anyhow::Result<u64> {
        let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
        let deadlocks: i64 = self.client.query_one(deadlocks, &[]).await?.get(0);
        Ok(u64::try_from(deadlocks).unwrap_or_default())
    }

    /// Makes a superuser, by whose name the connections of one daemon can be told from another's.
    pub async fn make_superuser(&self, name: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("create role {name} superuser login")).await?)
    }

    /// Makes an empty database.
    pub async fn make_database(&self, name: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("create database {name}")).await?)
    }

    /// Makes a login that is a member of a role and may do nothing else.
    pub async fn make_member(&self, name: &str, role: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("create role {name} login in role {role}")).await?)
    }

    /// The users whose connections hold the settler's lock now.
    pub async fn settlers(&self) -> anyhow::Result<Vec<String>> {
        let rows = self
            .client
            .query(
                "select a.usename::text from pg_locks as l join pg_stat_activity as a using (pid) \
                 where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.objid = 0 \
                 and l.classid::bigint = analytics.lock_class('settler')::bigint & 4294967295",
                &[],
            )
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Whether an hour is settled.
    pub async fn is_settled(&self, hour: Hour) -> anyhow::Result<bool> {
        let settled = "select from analytics.settled_hours where hour = $1";
        Ok(self.client.query_opt(settled, &[&hour.start().to_utc()]).await?.is_some())
    }
}
