use std::time::Duration;

use chrono::{DateTime, Utc};
use model::Hour;
use tokio::time::timeout;
use tokio_postgres::{IsolationLevel, Transaction};

use crate::{
    Flavour, Store, StoreError, StoreOptions,
    connection::{Scope, pin_settings},
    identity::FoundAt,
    objects::{self, Drift, Shown},
    pooler::{self, SharedSessions},
    roles,
    schema::{self, SchemaError, SchemaStatus},
    service::{self, Service},
    store::hour_in,
};

/// Looks at a database without changing anything in it: every look is a read-only transaction on a connection of its own, which is given up
/// after a time, so that one that hangs does not keep the next from being taken.
pub struct Examination {
    store: Store,
    limit: Duration,
}

/// What the server is, and how it treats what is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The version of PostgreSQL, as in 17.2.
    pub version: String,
    /// Its first number.
    pub major_version: u32,
    /// Whether it runs in WebAssembly, where nothing is synced to the disk, whatever the settings say.
    pub is_webassembly: bool,
    /// How the database stores text.
    pub encoding: String,
    /// The setting `fsync`.
    pub fsync: bool,
    /// The setting `full_page_writes`.
    pub full_page_writes: bool,
    /// The setting `synchronous_commit` of a new session.
    pub synchronous_commit: String,
    /// How often a page of this database was read whose checksum was wrong, since its statistics were last reset.
    pub damaged_pages: i64,
    /// The service that runs it, where that can be told.
    pub service: Option<Service>,
}

/// `TimescaleDB` as the server offers it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timescale {
    /// The version that the database uses, if it does.
    pub installed: Option<String>,
    /// The version that it could be made to use, if the server has any.
    pub available: Option<String>,
    /// The setting `timescaledb.license`; none where the extension is not loaded.
    pub license: Option<String>,
    /// Whether the server loads the library at its start, without which the extension can do nothing.
    pub is_preloaded: bool,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whose login the daemons are to use, where the schema does without roles.
    pub owner_alone: Option<String>,
    /// The statements that are needed for owners and rights to be as they should be; none where the roles are to be used and are not there.
    pub needed: Option<Vec<String>>,
    /// The logins of daemons that are connected now and may do everything in the schema, as superusers or as its owners, where it uses roles.
    pub mighty_daemons: Vec<String>,
    /// The statements that are needed so that not every login of the server may connect to the database. It takes no right to hold a lock that
    /// storing events waits for, other than to connect. Empty also where the roles are not there.
    pub admission: Vec<String>,
}

/// How far settling is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settling {
    /// Whether some daemon is the settler.
    pub has_settler: bool,
    /// How many hours ended more than an hour ago and are not settled.
    pub waiting: u64,
    /// The oldest of those.
    pub oldest: Option<Hour>,
    /// How many of them nobody has written to for an hour.
    pub overdue: u64,
    /// How many hours are open and settled at once, which no function of the schema makes.
    pub contradictory: u64,
}

impl Examination {
    /// Prepares to look; nothing is opened yet. No look takes longer than `limit` once a connection is there.
    pub fn new(store: &Store, limit: Duration) -> Self {
        Self { store: store.clone(), limit }
    }

    /// The server and its settings.
    pub async fn platform(&self) -> Result<Platform, StoreError> {
        self.look(async |transaction| {
            // What a session was told to do for itself says nothing about the next, so the values to reset to are asked for.
            let row = transaction
                .query_one(
                    "select current_setting('server_version'), current_setting('server_version_num')::integer / 10000, \
                     current_setting('server_encoding'), current_setting('fsync')::boolean, \
                     current_setting('full_page_writes')::boolean, \
                     (select reset_val from pg_settings where name = 'synchronous_commit'), \
                     version() ~* 'wasm|emscripten', \
                     coalesce((select checksum_failures from pg_stat_database where datname = current_database()), 0)",
                    &[],
                )
                .await?;
            Ok(Platform {
                version: row.get::<_, String>(0).split(' ').next().unwrap_or_default().to_owned(),
                major_version: u32::try_from(row.get::<_, i32>(1)).unwrap_or_default(),
                is_webassembly: row.get(6),
                encoding: row.get(2),
                fsync: row.get(3),
                full_page_writes: row.get(4),
                synchronous_commit: row.get(5),
                damaged_pages: row.get(7),
                service: service::recognize(transaction).await?,
            })
        })
        .await
    }

    /// Whether connections are sessions of their own.
    pub async fn sessions(&self) -> Result<Result<(), SharedSessions>, StoreError> {
        timeout(self.limit, pooler::sessions(&self.store)).await.unwrap_or(Err(StoreError::TimedOut(self.limit)))
    }

    /// What the database says of itself: which shard of which counter it is.
    pub async fn identity(&self) -> Result<FoundAt, StoreError> {
        timeout(self.limit, self.store.identity()).await.unwrap_or(Err(StoreError::TimedOut(self.limit)))
    }

    /// What is the same for two databases only if they are on one server that runs now.
    pub async fn server(&self) -> Result<String, StoreError> {
        self.look(async |transaction| {
            let server = "select system_identifier::text || ' ' || extract(epoch from pg_postmaster_start_time())::text from pg_control_system()";
            Ok(transaction.query_one(server, &[]).await?.get(0))
        })
        .await
    }

    /// The extension.
    pub async fn timescale(&self) -> Result<Timescale, StoreError> {
        self.look(async |transaction| {
            let row = transaction
                .query_one(
                    "select (select extversion from pg_extension where extname = 'timescaledb'), \
                     (select default_version from pg_available_extensions where name = 'timescaledb'), \
                     current_setting('timescaledb.license', true), \
                     exists (select from pg_settings where name like 'timescaledb.%')",
                    &[],
                )
                .await?;
            Ok(Timescale {
                installed: row.get(0),
                available: row.get(1),
                license: row.get(2),
                is_preloaded: row.get(3),
            })
        })
        .await
    }

    /// Which migrations are applied.
    pub async fn schema(&self) -> Result<SchemaStatus, SchemaError> {
        self.look(async |transaction| Ok(schema::status_of(transaction).await)).await?
    }

    /// Which objects of the schema are not as the migrations make them. It says something only where those of this build are all applied.
    pub async fn drift(&self, flavour: Flavour) -> Result<Vec<Drift>, StoreError> {
        let found = self.look(async |transaction| objects::found(transaction, flavour).await).await?;
        Ok(objects::compare(&objects::expected(flavour), &found))
    }

    /// The objects of the schema, as `db/schema.sql` shows them.
    pub async fn objects(&self, flavour: Flavour) -> Result<Vec<Shown>, StoreError> {
        self.look(async |transaction| objects::shown(transaction, flavour).await).await
    }

    /// Whether roles, owners and rights are as [`roles`] says, whether daemons have no more of them than they need, and whether everybody may connect.
    pub async fn access(&self, flavour: Flavour) -> Result<Access, StoreError> {
        self.look(async |transaction| {
            let daemons = transaction
                .query(
                    "select distinct a.usename::text from pg_stat_activity as a join pg_roles as r on r.oid = a.usesysid \
                     where a.datname = current_database() and a.application_name = $1 and (r.rolsuper or pg_has_role( \
                         a.usesysid, (select nspowner from pg_namespace where nspname = 'analytics'), 'member')) order by 1",
                    &[&StoreOptions::default().application_name],
                )
                .await?;
            let used = roles::recorded(transaction).await?.unwrap_or(roles::Use::Roles);
            let needed = roles::needed(transaction, flavour, used).await?;
            Ok(Access {
                admission: if needed.is_some() { roles::admission(transaction, used).await? } else { Vec::new() },
                needed,
                mighty_daemons: match used {
                    roles::Use::Roles => daemons.iter().map(|row| row.get(0)).collect(),
                    roles::Use::OwnerAlone => Vec::new(),
                },
                owner_alone: match used {
                    roles::Use::Roles => None,
                    roles::Use::OwnerAlone => Some(roles::owner_alone(transaction).await?),
                },
            })
        })
        .await
    }

    /// What the server's clock says, at some time between the call and its return.
    pub async fn clock(&self) -> Result<Clock, StoreError> {
        self.look(async |transaction| {
            // The first call prepares the statement, so that the second is one round trip.
            let statement = transaction.prepare("select clock_timestamp()").await?;
            let asked = Utc::now();
            let says = transaction.query_one(&statement, &[]).await?.get(0);
            Ok(Clock { asked, says, answered: Utc::now() })
        })
        .await
    }

    /// How far settling is behind.
    pub async fn settling(&self) -> Result<Settling, StoreError> {
        self.look(async |transaction| {
            let row = transaction
                .query_one(
                    "with waiting as ( \
                         select hour, not bool_or(written_at between now() - interval '1 hour' and now() + interval '1 hour') as is_overdue from analytics.hour_counts \
                         where hour < date_bin(interval '1 hour', now(), timestamptz 'epoch') - interval '1 hour' \
                             and (site = 0 or site in (select id from analytics.list_sites())) group by hour, site \
                     ) \
                     select min(hour), count(*), count(*) filter (where is_overdue), \
                         exists (select from pg_locks where locktype = 'advisory' and granted and objsubid = 2 and objid = 0 \
                             and classid = analytics.lock_class('settler')::oid \
                             and database = (select oid from pg_database where datname = current_database())), \
                         (select count(distinct (hour, site)) from analytics.hour_counts join analytics.settled_hours using (hour, site)) \
                     from waiting",
                    &[],
                )
                .await?;
            let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
            let oldest: Option<DateTime<Utc>> = row.get(0);
            Ok(Settling {
                has_settler: row.get(3),
                waiting: count(1),
                oldest: oldest.map(|_| hour_in(&row, 0)),
                overdue: count(2),
                contradictory: count(4),
            })
        })
        .await
    }

    pub(crate) async fn look<T>(
        &self,
        look: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Which has a limit of its own, that knows how many hosts there are.
        let mut client = self.store.plain_client().await?;
        let taken = timeout(self.limit, async {
            // For this transaction only, since in WebAssembly all clients share one session.
            let pins = pin_settings(Scope::Transaction, self.limit);
            let transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(true);
            let transaction = transaction.start().await?;
            transaction.batch_execute(&pins).await?;
            let seen = look(&transaction).await?;
            transaction.rollback().await?;
            Ok(seen)
        });
        taken.await.unwrap_or(Err(StoreError::TimedOut(self.limit)))
    }
}

/// A reading of the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// This machine's clock when the question was sent.
    pub asked: DateTime<Utc>,
    /// What the server's said.
    pub says: DateTime<Utc>,
    /// This machine's clock when the answer was there.
    pub answered: DateTime<Utc>,
}
