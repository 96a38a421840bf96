//! Brings a database to the schema that this build knows: which migrations there are, which are applied, and whether those are
//! the ones that this build holds. Applying is safe to start on several machines at once: they take turns.

use std::{error::Error, fmt, time::Duration};

use refinery::{Migration, Report, Runner};
use thiserror::Error;
use tokio_postgres::{Client, GenericClient, Row, error::SqlState};

use crate::{
    Flavour, Store, StoreError, describe,
    pooler::{self, SharedSessions},
    roles::{self, Roles},
};

mod common {
    refinery::embed_migrations!("migrations/common");
}
mod timescale {
    refinery::embed_migrations!("migrations/timescale");
}
mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

const HISTORY_TABLE: &str = "analytics.schema_history";
/// The number of the advisory lock that migrating holds: the ASCII codes of "analytic". It exists before any of our functions do.
const MIGRATION_LOCK: i64 = 0x616e_616c_7974_6963;

/// How long a migration waits for a lock. Everybody who comes later waits behind it, so that it must not wait for long.
const LOCK_TIMEOUT: &str = "3s";
/// How long it lets the others go on before it asks again, and how often it does.
const LOCK_PAUSE: Duration = Duration::from_secs(2);
const LOCK_TRIES: u32 = 20;

/// The first version of the extension in which count(distinct) over partly compressed chunks is right.
pub const OLDEST_SOUND_TIMESCALE: [u32; 3] = [2, 29, 2];

/// A migration that could not be applied, or a schema that could not be read.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The database did not answer as it should.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something between hands out sessions by the transaction.
    #[error(transparent)]
    SharedSessions(#[from] SharedSessions),
    /// The server offers TimescaleDB, but not in a form that this product can use.
    #[error(
        "TimescaleDB is there but cannot be used: {reason}. {remedy}, or choose `--flavour postgres` to do without it"
    )]
    UnusableTimescale {
        /// What is missing.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// The schema was made in one flavour, and another was asked for.
    #[error(
        "the schema was made as {made}, and cannot be turned into {asked}; migrate an empty database and import into it"
    )]
    OtherFlavour {
        /// What it is.
        made: Flavour,
        /// What it was asked to be.
        asked: Flavour,
    },
    /// The database stores text in another encoding than UTF-8, so that some users' names could not be stored.
    #[error(
        "the database's encoding is {0}, in which not every user's name can be stored; make it anew with `create database … encoding 'UTF8'`"
    )]
    Encoding(String),
    /// A migration needs a table that something else does not let go of.
    #[error(
        "something else kept a table locked {LOCK_TRIES} times for {LOCK_TIMEOUT}, so a migration was not applied: {0}. \
         `select pid, state, xact_start, query from pg_stat_activity order by xact_start` shows what runs for long: end it, and migrate again"
    )]
    Locked(String),
    /// A migration failed; those before it stay applied.
    #[error("a migration failed: {}; `analytics-cli migrate verify` tells which of the applied ones differ", describe(.0))]
    Failed(#[from] refinery::Error),
}

impl From<tokio_postgres::Error> for SchemaError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// How the schema of a database compares with the one that this build knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The flavour that it was made in; none if there is no schema yet.
    pub flavour: Option<Flavour>,
    /// Every migration that is applied or known, in order.
    pub migrations: Vec<MigrationStatus>,
    /// The migration that a build must know to run on the schema, as the schema says itself; none where it is older than that saying.
    pub oldest_compatible: Option<i32>,
}

/// What migrating did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The flavour of the schema.
    pub flavour: Flavour,
    /// The names of the migrations that were applied.
    pub applied: Vec<String>,
    /// Who may do what in it.
    pub roles: Roles,
}

/// One migration, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its number.
    pub version: i32,
    /// What it is about.
    pub name: String,
    /// How it stands.
    pub state: MigrationState,
}

/// How a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// Applied, with the checksum that this build knows.
    Applied,
    /// Known, not yet applied.
    Pending,
    /// Applied, but its text was another than the one that this build holds.
    Altered,
    /// Applied by a newer build; unknown to this one.
    Unknown,
}

impl fmt::Display for MigrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Altered => "altered",
            Self::Unknown => "unknown",
        })
    }
}

impl SchemaStatus {
    /// The number of the newest migration that is applied; 0 if none is.
    pub fn version(&self) -> i32 {
        let applied = self.migrations.iter().filter(|m| m.state != MigrationState::Pending);
        applied.map(|m| m.version).max().unwrap_or(0)
    }

    /// How many migrations are in a state.
    pub fn count(&self, state: MigrationState) -> usize {
        self.migrations.iter().filter(|m| m.state == state).count()
    }

    /// Whether a newer build made migrations that this one does not know, and all of them let it go on, as while replicas are upgraded one by one.
    pub fn is_newer_but_compatible(&self) -> bool {
        let newest_known =
            self.migrations.iter().filter(|m| m.state != MigrationState::Unknown).map(|m| m.version).max();
        self.migrations.iter().any(|m| m.state == MigrationState::Unknown)
            && self.migrations.iter().all(|m| m.state != MigrationState::Unknown || Some(m.version) > newest_known)
            && self.oldest_compatible.is_some()
            && self.oldest_compatible <= newest_known
    }

    /// What is wrong and what to do about it, in a sentence; none if this build can run on the schema.
    pub fn complaint(&self) -> Option<String> {
        let (pending, altered, unknown) = (
            self.count(MigrationState::Pending),
            self.count(MigrationState::Altered),
            self.count(MigrationState::Unknown),
        );
        if unknown > 0 && !self.is_newer_but_compatible() {
            Some(format!(
                "the schema has {unknown} migration(s) that this build does not know: a newer version made it. Install that version"
            ))
        } else if altered > 0 {
            Some(format!(
                "{altered} applied migration(s) are not the ones that this build holds; `analytics-cli migrate verify` names them"
            ))
        } else if self.flavour.is_none() {
            Some(
                "the database has no schema yet; run `analytics-cli migrate up`, or start analyticsd with --migrate"
                    .to_owned(),
            )
        } else if pending > 0 {
            Some(format!(
                "the schema lacks {pending} migration(s); run `analytics-cli migrate up`, or start analyticsd with --migrate"
            ))
        } else {
            None
        }
    }
}

/// Compares the schema of a database with the one that this build knows. Changes nothing.
pub async fn status(store: &Store) -> Result<SchemaStatus, SchemaError> {
    let read = store.read(async |client| match status_of(&**client.as_ref()).await {
        Err(SchemaError::Store(error)) => Err(error),
        // What the schema is, is no fault of the session's.
        status => Ok(status),
    });
    read.await?
}

/// Applies what is pending, and sets up roles and rights. `flavour` chooses by hand; otherwise the server's offer decides for a new
/// schema, and the schema itself for one that is there. A newer schema on which this build can run is left as it is.
pub async fn migrate(store: &Store, flavour: Option<Flavour>) -> Result<Migrated, SchemaError> {
    migrate_as(store, flavour, RolesAre::SetUp).await
}

/// The same, but for the roles: everything stays with the login that migrates, which daemons then use too.
pub async fn migrate_without_roles(store: &Store, flavour: Option<Flavour>) -> Result<Migrated, SchemaError> {
    migrate_as(store, flavour, RolesAre::LeftAlone).await
}

/// Whether migrating is to set up roles, owners and rights.
#[derive(Debug, Clone, Copy)]
enum RolesAre {
    SetUp,
    LeftAlone,
}

async fn migrate_as(store: &Store, flavour: Option<Flavour>, roles_are: RolesAre) -> Result<Migrated, SchemaError> {
    // The lock is one of a session.
    pooler::sessions(store).await??;
    let mut client = store.maintenance_client().await?;
    store
        .bounded_maintenance(async {
            client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
            // Only now, since this one lock keeps nobody else waiting.
            client.batch_execute(&format!("set lock_timeout = '{LOCK_TIMEOUT}'")).await?;
            let migrated = migrate_locked(&mut client, flavour, roles_are).await;
            let ended = async {
                client.batch_execute("reset lock_timeout").await?;
                client.execute("select pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await
            };
            match (migrated, ended.await) {
                // What ended the session says more than that it is ended.
                (Err(error), _) => Ok(Err(error)),
                (Ok(migrated), ended) => Ok(ended.map(|_| Ok(migrated))?),
            }
        })
        .await?
}

async fn migrate_locked(
    client: &mut Client,
    asked: Option<Flavour>,
    roles_are: RolesAre,
) -> Result<Migrated, SchemaError> {
    let encoding: String = client.query_one("select current_setting('server_encoding')", &[]).await?.get(0);
    if encoding != "UTF8" {
        return Err(SchemaError::Encoding(encoding));
    }
    let flavour = match (recorded_flavour(client).await?, asked) {
        (Some(made), Some(asked)) if made != asked => return Err(SchemaError::OtherFlavour { made, asked }),
        (Some(made), _) => made,
        (None, Some(Flavour::Postgres)) => Flavour::Postgres,
        (None, Some(Flavour::Timescale)) => {
            prepare_timescale(client).await?;
            Flavour::Timescale
        }
        (None, None) => {
            if offers_timescale(client).await? {
                prepare_timescale(client).await?;
                Flavour::Timescale
            } else {
                Flavour::Postgres
            }
        }
    };
    if status_of(client).await?.is_newer_but_compatible() {
        return Ok(Migrated { flavour, applied: Vec::new(), roles: Roles::default() });
    }
    // Even `if not exists` takes the right to make schemas, which members of the role that owns this one need not have.
    if client.query_one("select to_regnamespace('analytics') is null", &[]).await?.get(0) {
        client.batch_execute("create schema analytics").await?;
    }
    let applied = apply(client, &migrations_of(flavour)).await?;
    let roles = match roles_are {
        RolesAre::SetUp => roles::set_up(client, flavour).await?,
        RolesAre::LeftAlone => {
            roles::close_to_all(client, flavour).await?;
            Roles::default()
        }
    };
    Ok(Migrated { flavour, applied, roles })
}

/// Applies what is pending, each migration in a transaction of its own, and returns its names. One that does not get a lock soon lets others go on,
/// and tries again.
async fn apply(client: &mut Client, migrations: &[Migration]) -> Result<Vec<String>, SchemaError> {
    let mut runner = Runner::new(migrations).set_abort_divergent(true).set_abort_missing(true);
    runner.set_migration_table_name(HISTORY_TABLE);
    let mut applied = Vec::new();
    let mut take_down = |report: &Report| applied.extend(report.applied_migrations().iter().map(ToString::to_string));
    for _ in 0..LOCK_TRIES {
        match runner.run_async(client).await {
            Ok(report) => {
                take_down(&report);
                return Ok(applied);
            }
            Err(error) if is_locked_out(&error) => {
                error.report().into_iter().for_each(&mut take_down);
                tracing::warn!("a migration waits for a table that something else keeps locked: {}", describe(&error));
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(SchemaError::Locked(
        applied.last().map_or_else(|| "none was".to_owned(), |name| format!("{name} was the last that was")),
    ))
}

/// Whether a migration failed only because it did not get a lock.
fn is_locked_out(error: &refinery::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code) {
            return [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(code);
        }
        cause = error.source();
    }
    false
}

pub(crate) async fn status_of(client: &impl GenericClient) -> Result<SchemaStatus, SchemaError> {
    let flavour = recorded_flavour(client).await?;
    // Without a schema the pending migrations are counted for the plain flavour; both have as many.
    let known = migrations_of(flavour.unwrap_or(Flavour::Postgres));
    let has_history: bool = client.query_one("select to_regclass($1) is not null", &[&HISTORY_TABLE]).await?.get(0);
    let applied = if has_history {
        let history = format!("select version, name, checksum from {HISTORY_TABLE}");
        client.query(&history, &[]).await?.iter().map(Applied::read).collect()
    } else {
        Vec::new()
    };

    let mut migrations: Vec<MigrationStatus> = known
        .iter()
        .map(|migration| {
            let state = match applied.iter().find(|a| a.version == migration.version()) {
                None => MigrationState::Pending,
                Some(a) if a.checksum == migration.checksum().to_string() => MigrationState::Applied,
                Some(_) => MigrationState::Altered,
            };
            MigrationStatus { version: migration.version(), name: migration.name().to_owned(), state }
        })
        .collect();
    migrations.extend(
        applied.iter().filter(|a| known.iter().all(|m| m.version() != a.version)).map(|a| MigrationStatus {
            version: a.version,
            name: a.name.clone(),
            state: MigrationState::Unknown,
        }),
    );
    migrations.sort_by_key(|m| m.version);
    let says_who_may_run: bool = client
        .query_one(
            "select exists (select from pg_attribute where attrelid = to_regclass('analytics.settings') and attname = 'oldest_compatible')",
            &[],
        )
        .await?
        .get(0);
    let oldest_compatible = if says_who_may_run {
        let row = client.query_opt("select oldest_compatible from analytics.settings", &[]).await?;
        row.map(|row| row.get(0))
    } else {
        None
    };
    Ok(SchemaStatus { flavour, migrations, oldest_compatible })
}

/// What the history says of a migration.
struct Applied {
    version: i32,
    name: String,
    checksum: String,
}

impl Applied {
    fn read(row: &Row) -> Self {
        Self { version: row.get(0), name: row.get(1), checksum: row.get(2) }
    }
}

fn migrations_of(flavour: Flavour) -> Vec<Migration> {
    let own = match flavour {
        Flavour::Timescale => timescale::migrations::runner(),
        Flavour::Postgres => postgres::migrations::runner(),
    };
    let mut migrations = common::migrations::runner().get_migrations().clone();
    migrations.extend(own.get_migrations().iter().cloned());
    migrations.sort_by_key(Migration::version);
    migrations
}

async fn recorded_flavour(client: &impl GenericClient) -> Result<Option<Flavour>, SchemaError> {
    let recorded: bool = client.query_one("select to_regclass('analytics.settings') is not null", &[]).await?.get(0);
    if !recorded {
        return Ok(None);
    }
    let row = client.query_opt("select flavour from analytics.settings", &[]).await?;
    Ok(row.and_then(|row| row.get::<_, &str>(0).parse().ok()))
}

async fn offers_timescale(client: &Client) -> Result<bool, SchemaError> {
    Ok(client
        .query_one("select exists (select from pg_available_extensions where name = 'timescaledb')", &[])
        .await?
        .get(0))
}

const PRELOAD: &str = "Set shared_preload_libraries = 'timescaledb' in postgresql.conf, and restart the server";

/// Makes sure that the extension is there, in the edition that has continuous aggregates.
async fn prepare_timescale(client: &Client) -> Result<(), SchemaError> {
    client.batch_execute("create extension if not exists timescaledb").await.map_err(|error| {
        // Its hint is longer than what is to be done.
        let reason = describe(&error).lines().next().unwrap_or_default().to_owned();
        let remedy = if reason.contains("must be preloaded") {
            PRELOAD
        } else {
            "Let a superuser run `create extension timescaledb` in this database, with \
             shared_preload_libraries = 'timescaledb' in postgresql.conf"
        };
        SchemaError::UnusableTimescale { reason, remedy: remedy.to_owned() }
    })?;
    // Where it was made before, nothing has asked for its library yet.
    let is_loaded = "select exists (select from pg_settings where name like 'timescaledb.%')";
    if !client.query_one(is_loaded, &[]).await?.get::<_, bool>(0) {
        let reason = "it is installed, and the server does not load it".to_owned();
        return Err(SchemaError::UnusableTimescale { reason, remedy: PRELOAD.to_owned() });
    }
    be_found(client).await?;
    let license: Option<String> =
        client.query_one("select current_setting('timescaledb.license', true)", &[]).await?.get(0);
    let version: String =
        client.query_one("select extversion from pg_extension where extname = 'timescaledb'", &[]).await?.get(0);
    if !is_sound_timescale(&version) {
        tracing::warn!(
            version,
            "this TimescaleDB is older than 2.29.2, before which count(distinct) could be wrong in partly compressed chunks; \
             hours that it miscounts would stay open. Upgrade it for production"
        );
    }
    match license.as_deref() {
        Some("timescale") => Ok(()),
        other => Err(SchemaError::UnusableTimescale {
            reason: format!(
                "timescaledb.license is {}, and the Apache-only edition has no continuous aggregates",
                other.unwrap_or("not set")
            ),
            remedy: "Install the community edition and set timescaledb.license = 'timescale'".to_owned(),
        }),
    }
}

/// Refuses an extension whose functions not every session of this database finds, or may call: migrations and the settler call them without naming
/// their schema.
async fn be_found(client: &Client) -> Result<(), SchemaError> {
    let lacking = client
        .query_opt(
            "select schema, concat_ws('; ', \
                 case when not is_open then format('grant usage on schema %I to public', schema) end, \
                 case when not is_searched then format('alter database %I set search_path = %s, %I', current_database(), \
                     coalesce(nullif(current_setting('search_path'), ''), '\"$user\", public'), schema) end) \
             from ( \
                 select n.nspname::text as schema, n.nspname = any (current_schemas(true)) as is_searched, \
                     exists (select from aclexplode(n.nspacl) as a where a.grantee = 0 and a.privilege_type = 'USAGE') as is_open \
                 from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'timescaledb' \
             ) as extension where not (is_searched and is_open)",
            &[],
        )
        .await?;
    let Some(row) = lacking else { return Ok(()) };
    let (schema, statements): (&str, &str) = (row.get(0), row.get(1));
    Err(SchemaError::UnusableTimescale {
        reason: format!("it is in the schema {schema}, in which not every session looks for it or may use it"),
        remedy: format!("As the owner of the database, or a superuser, run `{statements}`, and then the command again"),
    })
}

/// Whether a version of the extension counts distinct users right in every chunk.
pub fn is_sound_timescale(version: &str) -> bool {
    parse_version(version) >= OLDEST_SOUND_TIMESCALE
}

/// The numbers of a version such as `2.23.0-dev`; what cannot be read counts as 0.
fn parse_version(version: &str) -> [u32; 3] {
    let numbers = version.split('-').next().unwrap_or_default();
    let mut parts = numbers.split('.').map(|number| number.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::is_sound_timescale;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, sound) in
            [("2.23.0-dev", false), ("2.28.3", false), ("2.29.2", true), ("2.30.0-dev", true), ("3.0", true)]
        {
            assert_eq!(is_sound_timescale(version), sound, "{version}");
        }
    }
}
