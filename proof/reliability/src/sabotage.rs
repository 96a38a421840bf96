//! The changes and queries that scenarios make in the database beside the daemon. All SQL of this crate is here.

use std::time::Duration;

use anyhow::bail;
use harness::APPLICATION_NAME;
use model::Hour;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

/// How long statements of a killed daemon may continue.
const PATIENCE: Duration = Duration::from_mins(2);

pub struct Saboteur {
    client: Client,
}

impl Saboteur {
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let mut config: tokio_postgres::Config = url.parse()?;
        config.application_name(APPLICATION_NAME);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            // The client sees the same error in its next call.
            let _ = connection.await;
        });
        Ok(Self { client })
    }

    /// Ends any one of the daemons' connections, and returns whether there was one.
    pub(crate) async fn terminate_a_connection(&self) -> anyhow::Result<bool> {
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

    /// Waits until no statement that stores events runs. One may still run after its daemon was killed.
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

    /// Bounds the server's log, which would otherwise take a gigabyte, so that it fits on a small disk.
    pub(crate) async fn keep_log_small(&self) -> anyhow::Result<()> {
        // Each must be the only statement of its transaction.
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
    pub(crate) async fn begin_new_log_file(&self) -> anyhow::Result<()> {
        // Without a message in the current file, the server would not begin a new one.
        Ok(self.client.batch_execute("select pg_logical_emit_message(false, '', ''); select pg_switch_wal()").await?)
    }

    /// The number of deadlocks since the last crash. It is up to a second late.
    pub(crate) async fn deadlocks(&self) -> anyhow::Result<u64> {
        let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
        let deadlocks: i64 = self.client.query_one(deadlocks, &[]).await?.get(0);
        Ok(u64::try_from(deadlocks).unwrap_or_default())
    }

    /// A user for each daemon tells their connections apart.
    pub(crate) async fn make_superuser(&self, name: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("create role {name} superuser login")).await?)
    }

    pub(crate) async fn make_database(&self, name: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("create database {name}")).await?)
    }

    /// A login that is a member of this role only.
    pub(crate) async fn make_member(&self, name: &str, role: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("create role {name} login in role {role}")).await?)
    }

    /// The users whose connections hold the settler's lock now.
    pub(crate) async fn settlers(&self) -> anyhow::Result<Vec<String>> {
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

    pub(crate) async fn is_settled(&self, hour: Hour) -> anyhow::Result<bool> {
        let settled = "select from analytics.settled_hours where hour = $1";
        Ok(self.client.query_opt(settled, &[&hour.start().to_utc()]).await?.is_some())
    }
}
