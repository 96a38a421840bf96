//! Who may do what in the database: the roles, and what each of them owns, may call and may read.
//!
//! Logins are made members of these roles by whoever runs the server; `migrate` sets the roles up where it may, and otherwise names the statements
//! that somebody else has to run.
//!
//! A schema can do without the roles, where nobody may make them or nobody needs them: then everything in it belongs to the owner of the schema, whose
//! login the daemons use too. `analytics.settings` records which of the two it is, and `migrate` keeps to it until it is told otherwise.

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
    "advance_sources",
    "advance_writer",
    "create_site",
    "drop_events_before",
    "drop_oldest_events_before",
    "fence_writer",
    "forget_deleted_sites",
    "forget_expired_keys",
    "forget_idle_writers",
    "ingest",
    "ingest_once",
    "live_access_tokens",
    "live_sites",
    "make_room",
    "note_loss",
    "number_visitors",
    "recover_sites",
    "refresh_hour",
    "refusals",
    "register_writer",
    "rehearse",
    "reopen",
    "settle",
    "site_changes",
    "take_retention",
    "take_sites",
    "unite_day",
];

/// Those that people who read may call too: they change nothing, and name no visitor.
pub const FOR_READERS_TOO: &[&str] = &[
    "audit",
    "audited_parts",
    "columnstore_after",
    "counts",
    "event_days",
    "hours",
    "later_counts",
    "list_sites",
    "lock_class",
    "open_visitors",
    "period_counts",
    "set_cardinality",
    "shard_of",
    "stored_hours",
    "visitor_sets",
];

/// Those that only the owner calls, or that are called within others, with the rights of the owner.
pub const FOR_THE_OWNER: &[&str] = &[
    "answer",
    "archive_site",
    "blocked",
    "change_day",
    "chunk_of",
    "confirm_retention",
    "count_access_change",
    "count_site_change",
    "create_access_token",
    "delete_site",
    "fence_all_writers",
    "fill_visitors",
    "first_uncounted_hour",
    "forget",
    "forget_visitor",
    "has_chunk",
    "has_room",
    "hour_number",
    "hours_of",
    "later_part",
    "list_access_tokens",
    "lock_for_rebuild",
    "look_for_old_versions",
    "make_chunk",
    "make_partition",
    "note_chunk",
    "partition_of",
    "rebuild",
    "rebuild_to_at_least",
    "refuse_deleted_site",
    "rename_site",
    "repair",
    "revoke_access_token",
    "set_columnstore_after",
    "sources_elsewhere",
];

/// What the daemon reads without a function. There is nothing in them but counts, and what is known of the schema and of sources.
const READ_BY_THE_DAEMON: &[&str] = &[
    "day_visitors",
    "events_hourly",
    "hour_counts",
    "hourly",
    "losses",
    "schema_functions",
    "schema_history",
    "settled_hours",
    "sites",
    "sources",
];
const READ_BY_READERS: &[&str] = &[
    "day_visitors",
    "events_hourly",
    "hour_counts",
    "hourly",
    "losses",
    "schema_functions",
    "schema_history",
    "settled_hours",
];
const SETTINGS_OF_THE_DAEMON: &[&str] = &[
    "accepts_from",
    "counter",
    "due_before",
    "flavour",
    "is_founded",
    "lives_at",
    "oldest_compatible",
    "retention",
    "shard",
    "shards",
    "uses_roles",
    "visitor_salt",
];
/// The salt is a secret.
const SETTINGS_OF_READERS: &[&str] = &[
    "accepts_from",
    "counter",
    "due_before",
    "flavour",
    "is_founded",
    "lives_at",
    "oldest_compatible",
    "retention",
    "shard",
    "shards",
    "uses_roles",
];

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

/// Whether a schema uses the roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Owners and rights are those of the roles.
    Roles,
    /// Everything belongs to the owner of the schema.
    OwnerAlone,
}

/// What a schema records; none if there is no schema, or it is from before it was recorded.
pub(crate) async fn recorded(client: &impl GenericClient) -> Result<Option<Use>, StoreError> {
    let is_recorded = "select exists (select from pg_attribute \
                       where attrelid = to_regclass('analytics.settings') and attname = 'uses_roles' and not attisdropped)";
    if !client.query_one(is_recorded, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client.query_opt("select uses_roles from analytics.settings", &[]).await?;
    Ok(row.map(|row| if row.get(0) { Use::Roles } else { Use::OwnerAlone }))
}

async fn record(client: &Client, used: Use) -> Result<(), StoreError> {
    let statement = "update analytics.settings set uses_roles = $1 where uses_roles <> $1";
    client.execute(statement, &[&(used == Use::Roles)]).await?;
    Ok(())
}

/// Sets up roles, owners and rights, as far as this login may, and records whether there are roles.
pub(crate) async fn set_up(client: &Client, flavour: Flavour, used: Use) -> Result<Roles, StoreError> {
    match used {
        Use::Roles => {
            if recorded(client).await? != Some(used) {
                record(client, used).await?;
            }
            with_roles(client, flavour).await
        }
        Use::OwnerAlone => {
            let lacking = without_roles(client, flavour).await?;
            // Before everything belongs to one login, what is recorded would not be true.
            if lacking.is_empty() && recorded(client).await? != Some(used) {
                record(client, used).await?;
            }
            Ok(Roles { made: Vec::new(), lacking })
        }
    }
}

async fn with_roles(client: &Client, flavour: Flavour) -> Result<Roles, StoreError> {
    let missing = Wanted::Roles.needed(client, flavour).await?;
    let lacking = Wanted::Roles.run(client, flavour).await?;
    let made =
        missing.iter().filter(|statement| !lacking.contains(statement)).filter_map(|s| role_made_by(s)).collect();
    if !acts_for_the_owner(client, flavour).await? {
        // A schema whose objects belong to the login that migrates works as before; only nobody else has any rights in it.
        Wanted::Privacy.run(client, flavour).await?;
        return Ok(Roles { made, lacking });
    }
    // Also where something else is lacking: what a migration made, daemons that run are to use.
    let mut left = Wanted::owners(client, Use::Roles).await?.run(client, flavour).await?;
    left.extend(Wanted::Rights(Use::Roles).run(client, flavour).await?);
    // Once somebody ran what is lacking, the next time does the rest.
    Ok(Roles { made, lacking: if lacking.is_empty() { left } else { lacking } })
}

/// Returns what is lacking.
async fn without_roles(client: &Client, flavour: Flavour) -> Result<Vec<String>, StoreError> {
    // One statement for what the rights below would take a statement each.
    Wanted::Privacy.run(client, flavour).await?;
    let lacking = Wanted::owners(client, Use::OwnerAlone).await?.run(client, flavour).await?;
    if !lacking.is_empty() {
        // Until all is done, daemons in the roles go on.
        return Ok(lacking);
    }
    Wanted::Rights(Use::OwnerAlone).run(client, flavour).await
}

/// What this login lacks to set up the roles of a schema that is not there yet, as far as that can be known beforehand. Changes nothing.
pub(crate) async fn lacking_beforehand(client: &Client, flavour: Flavour) -> Result<Vec<String>, StoreError> {
    let makes_them_itself = "select rolsuper or rolcreaterole and not exists ( \
                                 select from unnest($1::text[]) as r (name) where to_regrole(name) is not null) \
                             from pg_roles where rolname = current_user";
    let makes_them_itself: bool = client.query_one(makes_them_itself, &[&ALL.as_slice()]).await?.get(0);
    let mut needed = Wanted::Roles.needed(client, flavour).await?;
    if makes_them_itself {
        // It is a member of what it makes.
        needed.retain(|statement| statement.starts_with("grant create on schema "));
    }
    Ok(needed)
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

/// What is needed for owners and rights to be as they should be; nothing where the roles are to be used and are not there. Changes nothing.
pub(crate) async fn needed(
    client: &impl GenericClient,
    flavour: Flavour,
    used: Use,
) -> Result<Option<Vec<String>>, StoreError> {
    if used == Use::Roles && !are_there(client, flavour).await? {
        return Ok(None);
    }
    let mut needed = Wanted::owners(client, used).await?.needed(client, flavour).await?;
    needed.extend(Wanted::Rights(used).needed(client, flavour).await?);
    Ok(Some(needed))
}

/// What is needed for nobody to connect to the database but superusers, its owner and those who have business in the schema; nothing where somebody saw
/// to it that not everybody may. It is for the owner of the database to run: others may share it with us. Changes nothing.
pub(crate) async fn admission(client: &impl GenericClient, used: Use) -> Result<Vec<String>, StoreError> {
    let admitted = match used {
        Use::Roles => [OWNER, DAEMON, READER].map(str::to_owned).to_vec(),
        Use::OwnerAlone => vec![owner_alone(client).await?],
    };
    let rows = client.query(include_str!("needed_admission.sql"), &[&admitted]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whose everything is where no roles are used, as SQL names it: the owner of the schema or, where the roles were used until now, whoever asks.
pub(crate) async fn owner_alone(client: &impl GenericClient) -> Result<String, StoreError> {
    let statement = "select case when nspowner = to_regrole($1) then quote_ident(current_user) else nspowner::regrole::text end \
                     from pg_namespace where nspname = 'analytics'";
    Ok(client.query_one(statement, &[&OWNER]).await?.get(0))
}

/// What is to be as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Roles,
    Owners {
        everything: String,
        aggregate: String,
    },
    Rights(Use),
    /// That not everybody may call what there is, which is how functions are made.
    Privacy,
}

impl Wanted {
    async fn owners(client: &impl GenericClient, used: Use) -> Result<Self, StoreError> {
        Ok(match used {
            Use::Roles => Self::Owners { everything: OWNER.to_owned(), aggregate: REFRESHER.to_owned() },
            Use::OwnerAlone => {
                let owner = owner_alone(client).await?;
                Self::Owners { everything: owner.clone(), aggregate: owner }
            }
        })
    }

    /// The statements that are needed for it.
    async fn needed(&self, client: &impl GenericClient, flavour: Flavour) -> Result<Vec<String>, StoreError> {
        let is_timescale = flavour == Flavour::Timescale;
        let rows = match self {
            Self::Roles => client.query(include_str!("needed_roles.sql"), &[&is_timescale]).await?,
            Self::Owners { everything, aggregate } => {
                client.query(include_str!("needed_owners.sql"), &[&is_timescale, everything, aggregate]).await?
            }
            Self::Rights(used) => {
                let parameters: [&(dyn ToSql + Sync); 8] = [
                    &is_timescale,
                    &FOR_THE_DAEMON,
                    &FOR_READERS_TOO,
                    &READ_BY_THE_DAEMON,
                    &READ_BY_READERS,
                    &SETTINGS_OF_THE_DAEMON,
                    &SETTINGS_OF_READERS,
                    &(*used == Use::Roles),
                ];
                client.query(include_str!("needed_rights.sql"), &parameters).await?
            }
            Self::Privacy => client.query(CLOSE_TO_ALL, &[]).await?,
        };
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Runs what is needed until nothing is, and returns what this login may not run.
    async fn run(&self, client: &Client, flavour: Flavour) -> Result<Vec<String>, StoreError> {
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
