//! Who may do what in the database: the roles, and what each of them owns, may call and may read.
//!
//! Logins are made members of these roles by whoever runs the server; `migrate` sets the roles up where it may, and otherwise names the statements
//! that somebody else has to run. A login that owns everything needs none of this.

use std::time::Duration;

use tokio_postgres::{Client, GenericClient, error::SqlState, types::ToSql};

use crate::{Flavour, StoreError};

/// The role that everything in the schema belongs to. Its members may do everything: migrate, repair, forget, set how long events are kept.
pub const OWNER: &str = "analytics_owner";
/// The role of a daemon's login.
pub const DAEMON: &str = "analytics_daemon";
/// The role of people and dashboards that only read.
pub const READER: &str = "analytics_reader";
/// The role that the continuous aggregate belongs to, so that the daemon can refresh it: its owner only may.
pub const REFRESHER: &str = "analytics_refresher";

/// The last is there only with `TimescaleDB`.
const ALL: [&str; 4] = [OWNER, DAEMON, READER, REFRESHER];

/// The functions and procedures that only the daemon calls, by name: every one of a name is meant.
pub const FOR_THE_DAEMON: &[&str] = &[
    "access_changes",
    "advance_retention",
    "advance_spool",
    "advance_writer",
    "drop_events_before",
    "drop_oldest_events_before",
    "fence_writer",
    "forget_expired_keys",
    "forget_idle_writers",
    "ingest",
    "ingest_once",
    "live_access_tokens",
    "make_room",
    "note_loss",
    "refresh_hour",
    "register_writer",
    "rehearse",
    "reopen",
    "settle",
];

/// Those that people who read may call too: they change nothing, and name no visitor.
pub const FOR_READERS_TOO: &[&str] =
    &["audit", "audited_parts", "columnstore_after", "counts", "event_days", "hours", "lock_class", "unique_users"];

/// Those that only the owner calls, or that are called within others, with the rights of the owner.
pub const FOR_THE_OWNER: &[&str] = &[
    "answer",
    "blocked",
    "chunk_of",
    "confirm_retention",
    "count_access_change",
    "create_access_token",
    "fence_all_writers",
    "first_uncounted_hour",
    "forget",
    "has_chunk",
    "has_room",
    "hour_number",
    "hours_of",
    "list_access_tokens",
    "lock_for_rebuild",
    "make_chunk",
    "make_partition",
    "note_chunk",
    "partition_of",
    "rebuild",
    "rebuild_to_at_least",
    "repair",
    "revoke_access_token",
    "set_columnstore_after",
];

/// What the daemon reads without a function. There is nothing in them but counts, and what is known of the schema and of spools.
const READ_BY_THE_DAEMON: &[&str] = &[
    "events_hourly",
    "hour_counts",
    "hourly",
    "losses",
    "schema_functions",
    "schema_history",
    "settled_hours",
    "spools",
];
const READ_BY_READERS: &[&str] =
    &["events_hourly", "hour_counts", "hourly", "losses", "schema_functions", "schema_history", "settled_hours"];
const SETTINGS_OF_THE_DAEMON: &[&str] =
    &["accepts_from", "due_before", "flavour", "oldest_compatible", "retention", "visitor_salt"];
/// The salt is a secret.
const SETTINGS_OF_READERS: &[&str] = &["accepts_from", "due_before", "flavour", "oldest_compatible", "retention"];

/// How often what is needed is looked at anew: after each round nothing should be left, unless somebody else does the same for another database of
/// the server at that moment.
const MOST_ROUNDS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// How the roles stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles {
    /// The roles that were not there, and are now.
    pub made: Vec<String>,
    /// What somebody with more rights has to run; empty if all is as it should be.
    pub lacking: Vec<String>,
}

/// Sets up roles, owners and rights, as far as this login may.
pub(crate) async fn set_up(client: &Client, flavour: Flavour) -> Result<Roles, StoreError> {
    let missing = Wanted::Roles.needed(client, flavour).await?;
    let lacking = Wanted::Roles.run(client, flavour).await?;
    let made =
        missing.iter().filter(|statement| !lacking.contains(statement)).filter_map(|s| role_made_by(s)).collect();
    if !acts_for_the_owner(client, flavour).await? {
        // A schema whose objects belong to the login that migrates works as before; only nobody else has any rights in it.
        close_to_all(client, flavour).await?;
        return Ok(Roles { made, lacking });
    }
    // Also where something else is lacking: what a migration made, daemons that run are to use.
    let mut left = Wanted::Owners.run(client, flavour).await?;
    left.extend(Wanted::Rights.run(client, flavour).await?);
    // Once somebody ran what is lacking, the next time does the rest.
    Ok(Roles { made, lacking: if lacking.is_empty() { left } else { lacking } })
}

/// Whether all roles are there and this login may do what their owner may.
async fn acts_for_the_owner(client: &impl GenericClient, flavour: Flavour) -> Result<bool, StoreError> {
    let statement = "select pg_has_role(to_regrole($1), 'usage')";
    Ok(are_there(client, flavour).await? && client.query_one(statement, &[&OWNER]).await?.get(0))
}

async fn are_there(client: &impl GenericClient, flavour: Flavour) -> Result<bool, StoreError> {
    let roles = if flavour == Flavour::Timescale { &ALL[..] } else { &ALL[..3] };
    let statement = "select bool_and(to_regrole(name) is not null) from unnest($1::text[]) as r (name)";
    Ok(client.query_one(statement, &[&roles]).await?.get(0))
}

/// Lets nobody but who migrates call what there is, where no roles are set up.
pub(crate) async fn close_to_all(client: &Client, flavour: Flavour) -> Result<(), StoreError> {
    Wanted::Privacy.run(client, flavour).await?;
    Ok(())
}

/// What is needed for owners and rights to be as they should be; nothing where there are no roles, since a login that owns everything needs
/// none. Changes nothing.
pub(crate) async fn needed(client: &impl GenericClient, flavour: Flavour) -> Result<Option<Vec<String>>, StoreError> {
    if !are_there(client, flavour).await? {
        return Ok(None);
    }
    let mut needed = Wanted::Owners.needed(client, flavour).await?;
    needed.extend(Wanted::Rights.needed(client, flavour).await?);
    Ok(Some(needed))
}

/// What is needed for nobody to connect to the database but superusers, its owner and members of the roles; nothing where somebody saw to it that
/// not everybody may. It is for the owner of the database to run: others may share it with us. Changes nothing.
pub(crate) async fn admission(client: &impl GenericClient) -> Result<Vec<String>, StoreError> {
    let rows = client.query(include_str!("needed_admission.sql"), &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What is to be as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Roles,
    Owners,
    Rights,
    /// That not everybody may call what there is, which is how functions are made.
    Privacy,
}

impl Wanted {
    /// The statements that are needed for it.
    async fn needed(self, client: &impl GenericClient, flavour: Flavour) -> Result<Vec<String>, StoreError> {
        let is_timescale = flavour == Flavour::Timescale;
        let rows = match self {
            Self::Roles => client.query(include_str!("needed_roles.sql"), &[&is_timescale]).await?,
            Self::Owners => client.query(include_str!("needed_owners.sql"), &[&is_timescale]).await?,
            Self::Rights => {
                let lists: [&(dyn ToSql + Sync); 7] = [
                    &is_timescale,
                    &FOR_THE_DAEMON,
                    &FOR_READERS_TOO,
                    &READ_BY_THE_DAEMON,
                    &READ_BY_READERS,
                    &SETTINGS_OF_THE_DAEMON,
                    &SETTINGS_OF_READERS,
                ];
                client.query(include_str!("needed_rights.sql"), &lists).await?
            }
            Self::Privacy => client.query(CLOSE_TO_ALL, &[]).await?,
        };
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Runs what is needed until nothing is, and returns what this login may not run.
    async fn run(self, client: &Client, flavour: Flavour) -> Result<Vec<String>, StoreError> {
        for _ in 0..MOST_ROUNDS {
            let statements = self.needed(client, flavour).await?;
            if statements.is_empty() {
                return Ok(statements);
            }
            let mut is_refused = false;
            for statement in &statements {
                match client.batch_execute(statement).await {
                    Ok(()) => {}
                    Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => is_refused = true,
                    // It is about a role that could not be made.
                    Err(error) if is_refused && error.code() == Some(&SqlState::UNDEFINED_OBJECT) => {}
                    // The next look tells whether it is still needed.
                    Err(error) if is_passing(&error) => tokio::time::sleep(PAUSE).await,
                    Err(error) => return Err(error.into()),
                }
            }
            if is_refused {
                break;
            }
        }
        self.needed(client, flavour).await
    }
}

const CLOSE_TO_ALL: &str = "select distinct 'revoke execute on all routines in schema analytics from public' from pg_proc as p, \
     aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a \
     where p.pronamespace = to_regnamespace('analytics') and a.grantee = 0";

/// Roles are shared by all databases of a server: somebody else may have made or changed the same at the same moment, or hold a lock for a while.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    [
        SqlState::DUPLICATE_OBJECT,
        SqlState::UNIQUE_VIOLATION,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        // "tuple concurrently updated", which has no code of its own.
        SqlState::INTERNAL_ERROR,
    ]
    .iter()
    .any(|code| error.code() == Some(code))
}

/// The name of the role that a statement makes, if it makes one.
fn role_made_by(statement: &str) -> Option<String> {
    statement.strip_prefix("create role ")?.split(' ').next().map(str::to_owned)
}
