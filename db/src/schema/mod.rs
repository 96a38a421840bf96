//! Brings a database to the schema that this program knows: tables by migrations, functions and views by a set that is applied as a whole. Applying is
//! safe to start on several machines at once: they take turns.

mod functions;
mod migrations;
mod status;
mod timescale;

use std::{error::Error, time::Duration};

use thiserror::Error;
use tokio_postgres::{Client, error::SqlState};

use crate::{
    Flavour, Shards, ShardsError, Store, StoreError, describe,
    pooler::{self, SharedSessions},
    roles::{self, Roles, Use},
};

pub use functions::FunctionsStatus;
use functions::Plan;
pub(crate) use status::status_of;
pub use status::{MigrationState, MigrationStatus, SchemaStatus};
pub use timescale::{OLDEST_SOUND_TIMESCALE, is_sound_timescale, timescale_version};

/// The number of the advisory lock that migrating holds: the ASCII codes of "analytic". It exists before any of our functions do.
const MIGRATION_LOCK: i64 = 0x616e_616c_7974_6963;

/// How long a migration waits for a lock. Everybody who comes later waits behind it, so that it must not wait for long.
const LOCK_TIMEOUT: &str = "3s";
/// How long it lets the others go on before it asks again, and how often it does.
const LOCK_PAUSE: Duration = Duration::from_secs(2);
const LOCK_TRIES: u32 = 20;

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
    /// Migrating needs what this login may not do.
    #[error(
        "migrating needs what is not there and this login may not do, so nothing was applied. Whoever administers the server runs this, connected to \
         the database, in this order:\n    {}\nThen run the command again.{way_round}", .statements.join("\n    ")
    )]
    Lacking {
        /// What an administrator has to run: statements, each with its semicolon, and comments on what is no statement.
        statements: Vec<String>,
        /// What would take less, as a sentence after a blank; empty if nothing does.
        way_round: String,
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
    /// A newer program made the schema, and this one cannot run on it.
    #[error("{0}")]
    Newer(String),
    /// Something that is not ours depends on a function or view that has to be dropped.
    #[error(
        "functions or views of the schema have to be made anew, and what is not part of the schema depends on them: {}. Nothing was changed. \
         Drop these, migrate again, and then make them again",
        .0.join(", ")
    )]
    Dependents(Vec<String>),
    /// A function or view could not be made. The functions and views stay as they were.
    #[error("{name} could not be made, so functions and views stay as they were: {}", describe(.source))]
    Function {
        /// Its name.
        name: &'static str,
        /// What the server answered.
        source: tokio_postgres::Error,
    },
    /// The database is not the one that is meant.
    #[error(transparent)]
    Shards(Box<ShardsError>),
    /// A migration failed; those before it stay applied.
    #[error("a migration failed: {}; `analytics-cli migrate verify` tells which of the applied ones differ", describe(.0))]
    Failed(#[from] refinery::Error),
}

impl From<ShardsError> for SchemaError {
    fn from(error: ShardsError) -> Self {
        match error {
            ShardsError::Store(_, error) => Self::Store(error),
            ShardsError::Schema(_, error) => *error,
            other => Self::Shards(Box::new(other)),
        }
    }
}

impl From<tokio_postgres::Error> for SchemaError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What migrating did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The flavour of the schema.
    pub flavour: Flavour,
    /// The names of the migrations that were applied, and the version of the functions if they were.
    pub applied: Vec<String>,
    /// Whether a newer program made the schema, so that nothing was applied.
    pub is_newer: bool,
    /// Whether it uses roles.
    pub used: Use,
    /// Who may do what in it.
    pub roles: Roles,
}

/// Compares the schema of a database with the one that this program knows, by what is recorded in it. Changes nothing.
pub async fn status(store: &Store) -> Result<SchemaStatus, SchemaError> {
    let read = store.read(async |client| match status_of(client.plain()).await {
        Err(SchemaError::Store(error)) => Err(error),
        // What the schema is, is no fault of the session's.
        status => Ok(status),
    });
    read.await?
}

/// The same, and looks at each function and view for what was changed by hand.
pub async fn inspect(store: &Store) -> Result<SchemaStatus, SchemaError> {
    let mut status = status(store).await?;
    if let (Some(flavour), MigrationState::Applied) = (status.flavour, status.functions.state) {
        let mut client = store.maintenance_client().await?;
        let drift = store.bounded_maintenance(async {
            let transaction = client.build_transaction().read_only(true).start().await?;
            functions::drift(&transaction, flavour).await
        });
        status.functions.found(drift.await?);
    }
    Ok(status)
}

/// Brings the database of a counter of one to the schema of this program: see [`Shards::migrate`].
pub async fn migrate(store: &Store, flavour: Option<Flavour>) -> Result<Migrated, SchemaError> {
    migrate_and_choose(store, flavour, None).await
}

/// The same, and chooses whether the schema uses roles.
pub async fn migrate_and_choose(
    store: &Store,
    flavour: Option<Flavour>,
    roles: Option<Use>,
) -> Result<Migrated, SchemaError> {
    let migrated = Shards::one(store).migrate(flavour, roles).await?;
    Ok(migrated.into_iter().next().expect("one database was migrated"))
}

/// Applies what is pending, and sets up roles and rights. `flavour` chooses by hand; otherwise the server's offer decides for a new
/// schema, and the schema itself for one that is there. `roles` chooses whether the schema uses roles; without a choice it stays as it is recorded, and a
/// new one uses them. A newer schema on which this program can run is left as it is.
pub(crate) async fn migrate_database(
    store: &Store,
    flavour: Option<Flavour>,
    roles: Option<Use>,
) -> Result<Migrated, SchemaError> {
    // The lock is one of a session.
    pooler::sessions(store).await??;
    let mut client = store.maintenance_client().await?;
    store
        .bounded_maintenance(async {
            client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
            // Only now, since this one lock keeps nobody else waiting.
            client.batch_execute(&format!("set lock_timeout = '{LOCK_TIMEOUT}'")).await?;
            let migrated = migrate_locked(&mut client, flavour, roles).await;
            let ended = async {
                client.batch_execute("set lock_timeout = 0").await?;
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
    roles_asked: Option<Use>,
) -> Result<Migrated, SchemaError> {
    let encoding: String = client.query_one("select current_setting('server_encoding')", &[]).await?.get(0);
    if encoding != "UTF8" {
        return Err(SchemaError::Encoding(encoding));
    }
    // In a schema that somebody made beforehand this login may not even look.
    let is_empty = "select not exists (select from pg_class where relnamespace = to_regnamespace('analytics'))";
    let is_empty: bool = client.query_one(is_empty, &[]).await?.get(0);
    let recorded = if is_empty { None } else { roles::recorded(client).await? };
    let used = roles_asked.or(recorded).unwrap_or(Use::Roles);
    let made = if is_empty { None } else { recorded_flavour(client).await? };
    let flavour = match (made, asked) {
        (Some(made), Some(asked)) if made != asked => return Err(SchemaError::OtherFlavour { made, asked }),
        (Some(made), _) => made,
        (None, asked) => prepare(client, asked, used).await?,
    };
    let status = status_of(client).await?;
    if status.is_newer() {
        return match status.complaint() {
            None => {
                let used = status.roles.unwrap_or(Use::Roles);
                Ok(Migrated { flavour, applied: Vec::new(), is_newer: true, used, roles: Roles::default() })
            }
            Some(complaint) => Err(SchemaError::Newer(complaint)),
        };
    }
    let plan = functions::plan(client, flavour).await?;
    // Even `if not exists` takes the right to make schemas, which members of the role that owns this one need not have.
    if client.query_one("select to_regnamespace('analytics') is null", &[]).await?.get(0) {
        client.batch_execute("create schema analytics").await?;
    }
    let mut applied = Vec::new();
    apply(client, flavour, Part::Tables, &mut applied).await?;
    if let Some(plan) = &plan {
        apply(client, flavour, Part::Functions(plan), &mut applied).await?;
    }
    let roles = roles::set_up(client, flavour, used).await?;
    Ok(Migrated { flavour, applied, is_newer: false, used, roles })
}

/// Chooses the flavour of a new schema, and sees to it that the server and this login have what it takes. What this login lacks is told all at once, with
/// what it would lack later on.
async fn prepare(client: &Client, asked: Option<Flavour>, used: Use) -> Result<Flavour, SchemaError> {
    let flavour = match asked {
        Some(flavour) => flavour,
        None if timescale::offers_timescale(client).await? => Flavour::Timescale,
        None => Flavour::Postgres,
    };
    let of_extension =
        if flavour == Flavour::Timescale { timescale::prepare_timescale(client).await? } else { Vec::new() };
    let mut statements = of_extension.clone();
    statements.extend(lacking_for_schema(client).await?);
    if statements.is_empty() {
        return Ok(flavour);
    }
    let of_roles = match used {
        Use::Roles => roles::lacking_beforehand(client, flavour).await?,
        Use::OwnerAlone => Vec::new(),
    };
    let ways: Vec<&str> = [
        (!of_extension.is_empty()).then_some("`--flavour postgres` does without TimescaleDB"),
        (!of_roles.is_empty()).then_some("`--without-roles` does without the roles"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let way_round = if ways.is_empty() { String::new() } else { format!(" {}.", ways.join(", ")) };
    statements.extend(of_roles);
    let statements =
        statements.into_iter().map(|it| if it.starts_with("--") { it } else { format!("{it};") }).collect();
    Err(SchemaError::Lacking { statements, way_round })
}

/// The statement that lets this login make the schema, or make everything in the one that somebody made for it.
async fn lacking_for_schema(client: &Client) -> Result<Option<String>, StoreError> {
    let row = client
        .query_one(
            "select case \
                 when n.nspname is null and not has_database_privilege(current_database(), 'create') \
                     then format('grant create on database %I to %I', current_database(), current_user) \
                 when not pg_has_role(n.nspowner, 'usage') and not exists (select from pg_class where relnamespace = n.oid) \
                     then format('alter schema analytics owner to %I', current_user) \
             end \
             from (select) as one left join pg_namespace as n on n.nspname = 'analytics'",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// What is applied at once.
enum Part<'a> {
    Tables,
    Functions(&'a Plan),
}

/// Applies a part, and adds the names of what was applied. Where it does not get a lock soon, it lets others go on, and tries again.
async fn apply(
    client: &mut Client,
    flavour: Flavour,
    part: Part<'_>,
    applied: &mut Vec<String>,
) -> Result<(), SchemaError> {
    for _ in 0..LOCK_TRIES {
        let outcome = match part {
            Part::Tables => migrations::apply(client, flavour, applied).await,
            Part::Functions(plan) => functions::apply(client, flavour, plan, applied).await,
        };
        match outcome {
            Err(error) if is_locked_out(&error) => {
                tracing::warn!("a migration waits for a table that something else keeps locked: {}", describe(&error));
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
    Err(SchemaError::Locked(
        applied.last().map_or_else(|| "none was".to_owned(), |name| format!("{name} was the last that was")),
    ))
}

/// Whether something failed only because it did not get a lock.
fn is_locked_out(error: &SchemaError) -> bool {
    let locks = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED];
    if let SchemaError::Store(error) = error {
        return locks.iter().any(|code| error.code() == Some(code.code()));
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code) {
            return locks.contains(code);
        }
        cause = error.source();
    }
    false
}

async fn recorded_flavour(client: &Client) -> Result<Option<Flavour>, StoreError> {
    Ok(status::settings(client).await?.map(|(flavour, _)| flavour))
}
