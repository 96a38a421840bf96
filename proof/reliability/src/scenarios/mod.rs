//! One file a fault. Every scenario starts clients, injects its faults, stops the clients and audits.

pub mod backend_killed;
#[cfg(feature = "kafka")]
pub mod broker_frozen;
#[cfg(feature = "kafka")]
pub mod broker_killed;
pub mod clock_jumps;
pub mod commit_fates;
pub mod connections_killed;
pub mod daemon_clocks;
pub mod daemon_frozen;
pub mod daemon_killed;
pub mod daemon_stopped;
#[cfg(feature = "kafka")]
pub mod daemons_rebalanced;
pub mod database_crashed;
pub mod database_frozen;
pub mod database_hangs;
#[cfg(feature = "kafka")]
pub mod database_restored;
pub mod disk_full;
pub mod false_errors;
mod faulty_commits;
pub mod host_name_moves;
pub mod hour_under_attack;
pub mod network_faults;
#[cfg(feature = "kafka")]
pub mod offsets_reset;
pub mod outage_spooled;
pub mod overload;
pub mod pages_damaged;
pub mod patroni_failover;
pub mod pgpool_kills;
pub mod power_lost;
pub mod primary_read_only;
pub mod replicas;
pub mod rolling;
pub mod shard_killed;
pub mod shard_moved;
mod shard_outages;
pub mod shard_partitioned;
pub mod shard_restored;
pub mod shard_spooled;
pub mod shards_of_one_server;
pub mod shards_replicas;
pub mod shards_with_daemons_killed;
pub mod sites;
pub mod slot_left_behind;
pub mod snapshot_held;
pub mod spool_disk_fails;
pub mod standby_lagged;
pub mod standby_promoted;
pub mod syncs_failing;
pub mod syncs_slow;
pub mod tables_repacked;
pub mod timescaledb_upgraded;

use clap::ValueEnum;

use crate::{options::Options, report::Report};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// `kill -9` of the daemon.
    DaemonKilled,
    /// SIGTERM to the daemon.
    DaemonStopped,
    /// Immediate stop and `kill -9` of the database.
    DatabaseCrashed,
    /// `kill -9` of a session's process, as when memory runs out.
    BackendKilled,
    /// SIGSTOP of a daemon, and daemons with little CPU time.
    DaemonFrozen,
    /// SIGSTOP of every process of the database, and a database with little CPU time.
    DatabaseFrozen,
    /// Packets lost between daemon and database, in one direction or at random. Needs root.
    NetworkFaults,
    /// The database ends connections of the daemon, at random.
    ConnectionsKilled,
    /// The same behind pgpool-II.
    PgpoolKills,
    /// Connections cut at every point of a commit.
    CommitFates,
    /// Commits answered with false errors from a proxy.
    FalseErrors,
    /// A database that hangs without closing anything.
    DatabaseHangs,
    /// A full disk. Needs the right to mount.
    DiskFull,
    /// A replication slot without a consumer, which fills the disk. Needs the right to mount.
    SlotLeftBehind,
    /// Crashes of the database under a daemon with a spool, which is killed too.
    OutageSpooled,
    /// A primary killed and one that stands still, each with its synchronous standby promoted.
    StandbyPromoted,
    /// A primary killed, and its standby promoted that had not received everything.
    StandbyLagged,
    /// A primary that takes no writes any more, with and without a standby that takes over.
    PrimaryReadOnly,
    /// Patroni with etcd: a switchover, and leaders that are killed, cut off or without a quorum. Needs root.
    PatroniFailover,
    /// The name of the database's host leads to another address, or nowhere. Needs root.
    HostNameMoves,
    /// A disk that fails and forgets what was not synced, under database and spool. Needs the right to mount.
    PowerLost,
    /// Every `fsync` of the database takes long. Needs strace.
    SyncsSlow,
    /// An `fsync` of the database fails. Needs strace.
    SyncsFailing,
    /// A disk under the spool that fails to write and forgets it. Needs the right to mount.
    SpoolDiskFails,
    /// Pages of tables whose checksum is wrong.
    PagesDamaged,
    /// A snapshot held for the whole time.
    SnapshotHeld,
    /// `pg_repack` on one table after the other.
    TablesRepacked,
    /// TimescaleDB upgraded under load. Needs a server with several versions of it.
    TimescaledbUpgraded,
    /// Clients whose clocks are years off.
    ClockJumps,
    /// Two daemons whose clocks are moved back and forth.
    DaemonClocks,
    /// Three daemons on one database, and the settler killed.
    Replicas,
    /// Sites that come and go under a daemon that is killed.
    Sites,
    /// Replicas restarted one by one.
    RollingRestart,
    /// Replicas of an earlier commit, and the schema under them, upgraded one by one.
    RollingUpgrade,
    /// Several times more clients than the connection limit.
    Overload,
    /// One hour written, settled, reopened and read at the same time.
    HourUnderAttack,
    /// Several databases: `kill -9` of the server of one.
    ShardKilled,
    /// Several databases of one server: one moves to another server.
    ShardMoved,
    /// Several databases: the way to one carries nothing any more.
    ShardPartitioned,
    /// Several databases: one is restored to an earlier state.
    ShardRestored,
    /// Several databases: `kill -9` of the server of one, under a daemon with a spool, which is killed too.
    ShardSpooled,
    /// Several databases, and `kill -9` of the daemon.
    ShardsWithDaemonsKilled,
    /// Several databases and two daemons, of which one is killed, as the settler of all.
    ShardsReplicas,
    /// Several databases of one server, which is killed.
    ShardsOfOneServer,
    /// `kill -9` of the broker of a topic. Needs an Apache Kafka.
    #[cfg(feature = "kafka")]
    BrokerKilled,
    /// SIGSTOP of the broker of a topic.
    #[cfg(feature = "kafka")]
    BrokerFrozen,
    /// Daemons that read a topic killed, stopped, frozen and started, so that its partitions move.
    #[cfg(feature = "kafka")]
    DaemonsRebalanced,
    /// The offsets of the consumer group set to the beginning, the end and elsewhere.
    #[cfg(feature = "kafka")]
    OffsetsReset,
    /// The database replaced by an earlier copy of it, under a daemon that reads a topic.
    #[cfg(feature = "kafka")]
    DatabaseRestored,
}

impl Scenario {
    /// An error means that the scenario did not run to its end; broken promises are in the report.
    pub async fn run(self, options: &Options) -> anyhow::Result<Report> {
        match self {
            Self::DaemonKilled => daemon_killed::run(options).await,
            Self::DaemonStopped => daemon_stopped::run(options).await,
            Self::DatabaseCrashed => database_crashed::run(options).await,
            Self::BackendKilled => backend_killed::run(options).await,
            Self::DaemonFrozen => daemon_frozen::run(options).await,
            Self::DatabaseFrozen => database_frozen::run(options).await,
            Self::NetworkFaults => network_faults::run(options).await,
            Self::ConnectionsKilled => connections_killed::run(options).await,
            Self::PgpoolKills => pgpool_kills::run(options).await,
            Self::CommitFates => commit_fates::run(options).await,
            Self::FalseErrors => false_errors::run(options).await,
            Self::DatabaseHangs => database_hangs::run(options).await,
            Self::DiskFull => disk_full::run(options).await,
            Self::SlotLeftBehind => slot_left_behind::run(options).await,
            Self::OutageSpooled => outage_spooled::run(options).await,
            Self::StandbyPromoted => standby_promoted::run(options).await,
            Self::StandbyLagged => standby_lagged::run(options).await,
            Self::PrimaryReadOnly => primary_read_only::run(options).await,
            Self::PatroniFailover => patroni_failover::run(options).await,
            Self::HostNameMoves => host_name_moves::run(options).await,
            Self::PowerLost => power_lost::run(options).await,
            Self::SyncsSlow => syncs_slow::run(options).await,
            Self::SyncsFailing => syncs_failing::run(options).await,
            Self::SpoolDiskFails => spool_disk_fails::run(options).await,
            Self::PagesDamaged => pages_damaged::run(options).await,
            Self::SnapshotHeld => snapshot_held::run(options).await,
            Self::TablesRepacked => tables_repacked::run(options).await,
            Self::TimescaledbUpgraded => timescaledb_upgraded::run(options).await,
            Self::ClockJumps => clock_jumps::run(options).await,
            Self::DaemonClocks => daemon_clocks::run(options).await,
            Self::Replicas => replicas::run(options).await,
            Self::Sites => sites::run(options).await,
            Self::RollingRestart => rolling::restart(options).await,
            Self::RollingUpgrade => rolling::upgrade(options).await,
            Self::Overload => overload::run(options).await,
            Self::HourUnderAttack => hour_under_attack::run(options).await,
            Self::ShardKilled => shard_killed::run(options).await,
            Self::ShardMoved => shard_moved::run(options).await,
            Self::ShardPartitioned => shard_partitioned::run(options).await,
            Self::ShardRestored => shard_restored::run(options).await,
            Self::ShardSpooled => shard_spooled::run(options).await,
            Self::ShardsWithDaemonsKilled => shards_with_daemons_killed::run(options).await,
            Self::ShardsReplicas => shards_replicas::run(options).await,
            Self::ShardsOfOneServer => shards_of_one_server::run(options).await,
            #[cfg(feature = "kafka")]
            Self::BrokerKilled => broker_killed::run(options).await,
            #[cfg(feature = "kafka")]
            Self::BrokerFrozen => broker_frozen::run(options).await,
            #[cfg(feature = "kafka")]
            Self::DaemonsRebalanced => daemons_rebalanced::run(options).await,
            #[cfg(feature = "kafka")]
            Self::OffsetsReset => offsets_reset::run(options).await,
            #[cfg(feature = "kafka")]
            Self::DatabaseRestored => database_restored::run(options).await,
        }
    }
}
