//! The changes and queries that scenarios make in the database beside the daemon. All SQL of this crate is here.

#[cfg(feature = "kafka")]
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use harness::APPLICATION_NAME;
use model::{EventKind, Hour, SiteHour, Timestamp, UserName};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use crate::ledger::{Key, Multiset};

/// How long statements of a killed daemon may continue.
const PATIENCE: Duration = Duration::from_mins(2);

pub struct Saboteur {
    client: Client,
}

/// A page of a table that holds rows of past hours only.
pub(crate) struct Page {
    /// Below the folder of the data.
    pub(crate) file: String,
    pub(crate) size: u64,
    pub(crate) block: u64,
    pub(crate) hours: Vec<Hour>,
    /// Some open hours of which it holds nothing.
    pub(crate) other_hours: Vec<Hour>,
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

    /// Returns once the server lets clients in.
    pub(crate) async fn connect_when_up(url: &str) -> anyhow::Result<Self> {
        let began = Instant::now();
        loop {
            match Self::connect(url).await {
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => sleep(Duration::from_millis(20)).await,
                Ok(connected) => return Ok(connected),
            }
        }
    }

    /// The process of any one of the daemons' sessions.
    pub(crate) async fn any_backend(&self) -> anyhow::Result<Option<u32>> {
        let any = "select pid from pg_stat_activity where datname = current_database() \
                   and application_name = 'analyticsd' order by random() limit 1";
        let backend = self.client.query_opt(any, &[]).await?;
        Ok(backend.and_then(|row| u32::try_from(row.get::<_, i32>(0)).ok()))
    }

    /// The processes of all of the daemons' sessions.
    pub(crate) async fn daemons_processes(&self) -> anyhow::Result<Vec<u32>> {
        self.processes_that("datname = current_database() and application_name = 'analyticsd'").await
    }

    /// All processes of the server but the first.
    pub(crate) async fn processes(&self) -> anyhow::Result<Vec<u32>> {
        self.processes_that("true").await
    }

    pub(crate) async fn checkpointer(&self) -> anyhow::Result<u32> {
        let found = self.processes_that("backend_type = 'checkpointer'").await?;
        found.first().copied().context("the server has no checkpointer")
    }

    async fn processes_that(&self, condition: &str) -> anyhow::Result<Vec<u32>> {
        let found = format!("select pid from pg_stat_activity where {condition}");
        let rows = self.client.query(&found, &[]).await?;
        Ok(rows.iter().filter_map(|row| u32::try_from(row.get::<_, i32>(0)).ok()).collect())
    }

    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        Ok(self.client.batch_execute("checkpoint").await?)
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

    /// From the server's next start on.
    pub(crate) async fn allow_logical_replication(&self) -> anyhow::Result<()> {
        Ok(self.client.batch_execute("alter system set wal_level = 'logical'").await?)
    }

    /// A slot without a consumer, for which the server keeps this much of its log; -1: all of it.
    pub(crate) async fn leave_slot_behind(&self, keep: &str) -> anyhow::Result<()> {
        self.set("max_slot_wal_keep_size", keep).await?;
        self.client.query("select pg_create_logical_replication_slot('left_behind', 'pgoutput')", &[]).await?;
        Ok(())
    }

    /// And lets the server remove the log that it kept for them.
    pub(crate) async fn drop_slots(&self) -> anyhow::Result<()> {
        self.client.query("select pg_drop_replication_slot(slot_name) from pg_replication_slots", &[]).await?;
        Ok(self.client.batch_execute("checkpoint").await?)
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

    /// Ends all of the daemons' connections.
    pub(crate) async fn terminate_all_connections(&self) -> anyhow::Result<()> {
        let terminate = "select pg_terminate_backend(pid) from pg_stat_activity \
                         where datname = current_database() and application_name = 'analyticsd'";
        self.client.query(terminate, &[]).await?;
        Ok(())
    }

    /// Makes a standby the primary.
    pub(crate) async fn promote(&self) -> anyhow::Result<()> {
        let promoted: bool = self.client.query_one("select pg_promote()", &[]).await?.get(0);
        ensure!(promoted, "the standby did not become the primary");
        Ok(())
    }

    /// Whether a standby has what was written up to this place of the log.
    pub(crate) async fn has_replayed(&self, place: &str) -> anyhow::Result<bool> {
        let replayed = "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn";
        Ok(self.client.query_one(replayed, &[&place]).await?.get(0))
    }

    /// Waits until a standby follows.
    pub(crate) async fn wait_for_standby(&self) -> anyhow::Result<()> {
        self.wait_for_standby_that("state = 'streaming'").await
    }

    /// Waits until a standby has all that was written before.
    pub(crate) async fn wait_until_received(&self) -> anyhow::Result<()> {
        let written: String = self.client.query_one("select pg_current_wal_lsn()::text", &[]).await?.get(0);
        self.wait_for_standby_that(&format!("flush_lsn >= '{written}'")).await
    }

    /// From when this returns, a commit waits until a standby has it.
    pub(crate) async fn wait_for_standby_in_commits(&self) -> anyhow::Result<()> {
        self.set("synchronous_standby_names", "*").await?;
        self.wait_for_standby_that("state = 'streaming' and sync_state = 'sync'").await?;
        // The checkpointer tells the other processes about the setting before it makes a checkpoint.
        Ok(self.client.batch_execute("checkpoint").await?)
    }

    /// Commits wait for no standby any more.
    pub(crate) async fn commit_alone(&self) -> anyhow::Result<()> {
        self.set("synchronous_standby_names", "").await
    }

    async fn wait_for_standby_that(&self, condition: &str) -> anyhow::Result<()> {
        let found = format!("select from pg_stat_replication where {condition}");
        let began = Instant::now();
        while self.client.query_opt(&found, &[]).await?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "there is no standby whose {condition}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// New transactions may not write, unless they say that they do.
    pub(crate) async fn make_read_only(&self, read_only: bool) -> anyhow::Result<()> {
        self.set("default_transaction_read_only", if read_only { "on" } else { "off" }).await
    }

    /// For the whole server, at once.
    async fn set(&self, setting: &str, value: &str) -> anyhow::Result<()> {
        self.client.batch_execute(&format!("alter system set {setting} = '{value}'")).await?;
        Ok(self.client.batch_execute("select pg_reload_conf()").await?)
    }

    /// The number of events, also on a server that others have left.
    pub(crate) async fn events(&self) -> anyhow::Result<i64> {
        Ok(self.client.query_one("select count(*) from analytics.events", &[]).await?.get(0))
    }

    /// Before which offset the messages of each partition of a topic are stored.
    #[cfg(feature = "kafka")]
    pub(crate) async fn positions_of_partitions(&self) -> anyhow::Result<BTreeMap<i32, u64>> {
        let positions = "select substring(name from '[0-9]+$')::int, position from analytics.sources";
        let rows = self.client.query(positions, &[]).await?;
        rows.iter().map(|row| Ok((row.get(0), u64::try_from(row.get::<_, i64>(1))?))).collect()
    }

    /// Where in its log a promoted standby left the first timeline.
    pub(crate) async fn left_first_timeline_at(&self) -> anyhow::Result<String> {
        let history = "select split_part(pg_read_file('pg_wal/00000002.history'), E'\t', 2)";
        Ok(self.client.query_one(history, &[]).await?.get(0))
    }

    /// The events that these transactions stored.
    pub(crate) async fn events_of(&self, transactions: &[i64]) -> anyhow::Result<Multiset> {
        let rows = self
            .client
            .query(
                "select (extract(epoch from at) * 1000)::bigint, kind::text, user_name, count(*) \
                 from analytics.events where xmin::text::bigint = any($1) group by 1, 2, 3",
                &[&transactions],
            )
            .await?;
        let mut events = Multiset::new();
        for row in rows {
            let hour = SiteHour::nameless(Hour::containing(Timestamp::from_millis(row.get(0))?));
            let (kind, user) = (EventKind::parse(row.get(1))?, UserName::new(row.get::<_, String>(2))?);
            *events.entry(Key { hour, kind, user }).or_default() += u64::try_from(row.get::<_, i64>(3))?;
        }
        Ok(events)
    }

    /// A user for each daemon tells their connections apart.
    pub(crate) async fn make_superuser(&self, name: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("create role {name} superuser login")).await?)
    }

    pub(crate) async fn make_database(&self, name: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("create database {name}")).await?)
    }

    pub(crate) async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("drop database {name} with (force)")).await?)
    }

    /// The versions of the extension that can be made on this server, the oldest first.
    pub(crate) async fn versions_of_timescale(&self) -> anyhow::Result<Vec<String>> {
        let versions = "select version from pg_available_extension_versions where name = 'timescaledb' \
                        order by string_to_array(split_part(version, '-', 1), '.')::int[]";
        Ok(self.client.query(versions, &[]).await?.iter().map(|row| row.get(0)).collect())
    }

    pub(crate) async fn make_timescale(&self, version: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("create extension timescaledb version '{version}'")).await?)
    }

    /// Must be the first statement of its session.
    pub(crate) async fn upgrade_timescale(&self, version: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("alter extension timescaledb update to '{version}'")).await?)
    }

    /// Moves the events of all days before today into columns, each day in a transaction of its own.
    pub(crate) async fn move_into_columns(&self) -> anyhow::Result<()> {
        let chunks = "select c::text from show_chunks('analytics.events', older_than => date_trunc('day', now())) as c";
        for chunk in self.client.query(chunks, &[]).await? {
            let chunk: String = chunk.get(0);
            self.client
                .query("select compress_chunk($1::text::regclass, if_not_compressed => true)", &[&chunk])
                .await?;
        }
        Ok(())
    }

    /// From now on, until it is dropped, no version of a row is removed that this session can see.
    pub(crate) async fn hold_snapshot(&self) -> anyhow::Result<()> {
        Ok(self
            .client
            .batch_execute("begin isolation level repeatable read; select from analytics.events limit 1")
            .await?)
    }

    /// For people: how large a table is, and how much of that is old versions.
    pub(crate) async fn bloat(&self, table: &str) -> anyhow::Result<String> {
        let name = format!("analytics.{table}");
        self.client.batch_execute(&format!("analyze {name}")).await?;
        let size = "select pg_size_pretty(pg_relation_size($1::text::regclass)), n_live_tup, n_dead_tup \
                    from pg_stat_user_tables where relid = $1::text::regclass";
        let row = self.client.query_one(size, &[&name]).await?;
        let (size, rows, dead): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        Ok(format!("{table}: {size}, {rows} rows and {dead} old versions"))
    }

    pub(crate) async fn make_repack(&self) -> anyhow::Result<()> {
        Ok(self.client.batch_execute("create extension pg_repack").await?)
    }

    pub(crate) async fn has_checksums(&self) -> anyhow::Result<bool> {
        Ok(self.client.query_one("select current_setting('data_checksums')::bool", &[]).await?.get(0))
    }

    /// Removes the old versions of a table's rows, and what the indexes have of them, once no other session can see
    /// them. A reader of an hour also visits the pages of its old versions.
    pub(crate) async fn remove_old_versions(&self, table: &str) -> anyhow::Result<()> {
        let seen_by =
            "select pid from pg_stat_activity where backend_xmin is not null and pid <> pg_backend_pid() limit 1";
        let began = Instant::now();
        while self.client.query_opt(seen_by, &[]).await?.is_some() {
            ensure!(began.elapsed() < PATIENCE, "another session still sees old versions after {PATIENCE:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(self.client.batch_execute(&format!("vacuum (index_cleanup on) analytics.{table}")).await?)
    }

    /// Reads a table as a backup would: all rows, not only what an index has of them.
    pub(crate) async fn read_all(&self, table: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(&format!("select count(t) from analytics.{table} as t")).await?)
    }

    /// Any page of a table, or of one of its parts, that holds nothing of the last three hours.
    pub(crate) async fn page_of_the_past(&self, table: &str) -> anyhow::Result<Page> {
        let hour = if table == "events" { "date_trunc('hour', at)" } else { "hour" };
        let row = self
            .client
            .query_one(
                &format!(
                    "select pg_relation_filepath(part), current_setting('block_size')::bigint, block, \
                         array_agg(distinct (extract(epoch from hour) * 1000)::bigint) from ( \
                         select tableoid as part, (ctid::text::point)[0]::bigint as block, {hour} as hour from analytics.{table} \
                     ) as r group by part, block having max(hour) < now() - interval '3 hours' order by random() limit 1"
                ),
                &[],
            )
            .await?;
        let hours: Vec<i64> = row.get(3);
        let others = "select distinct (extract(epoch from hour) * 1000)::bigint from analytics.hour_counts \
                      where (extract(epoch from hour) * 1000)::bigint <> all ($1) limit 20";
        let others = self.client.query(others, &[&hours]).await?;
        let hour = |millis| Timestamp::from_millis(millis).map(Hour::containing);
        Ok(Page {
            file: row.get(0),
            size: u64::try_from(row.get::<_, i64>(1))?,
            block: u64::try_from(row.get::<_, i64>(2))?,
            hours: hours.into_iter().map(hour).collect::<Result<_, _>>()?,
            other_hours: others.iter().map(|row| hour(row.get(0))).collect::<Result<_, _>>()?,
        })
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
