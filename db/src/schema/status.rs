//! How the schema of a database compares with the one that this program knows.

use std::fmt;

use tokio_postgres::{GenericClient, Row};

use crate::{
    Flavour, StoreError,
    roles::{self, Use},
};

use super::{
    SchemaError,
    functions::{self, FunctionsStatus},
    migrations::{self, HISTORY_TABLE},
};

/// How the schema of a database compares with the one that this build knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The flavour that it was made in; none if there is no schema yet.
    pub flavour: Option<Flavour>,
    /// Every migration that is applied or known, in order.
    pub migrations: Vec<MigrationStatus>,
    /// The functions and views.
    pub functions: FunctionsStatus,
    /// The migration that a build must know to run on the schema, as the schema says itself.
    pub oldest_compatible: Option<i32>,
    /// Whether it uses roles; none if there is no schema yet.
    pub roles: Option<Use>,
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

    /// Whether a newer program made the schema.
    pub fn is_newer(&self) -> bool {
        self.count(MigrationState::Unknown) > 0 || self.functions.state == MigrationState::Unknown
    }

    /// Whether a newer program made the schema, and it lets this one run on it, as while replicas are upgraded one by one.
    pub fn is_newer_but_compatible(&self) -> bool {
        let (unknown, known): (Vec<_>, Vec<_>) =
            self.migrations.iter().partition(|m| m.state == MigrationState::Unknown);
        let newest_known = known.iter().map(|m| m.version).max();
        let bears_migrations = unknown.is_empty()
            || unknown.iter().all(|m| Some(m.version) > newest_known)
                && self.oldest_compatible.is_some()
                && self.oldest_compatible <= newest_known;
        let bears_functions =
            self.functions.state != MigrationState::Unknown || self.functions.is_newer_but_compatible();
        self.is_newer() && bears_migrations && bears_functions
    }

    /// What is wrong and what to do about it, in a sentence; none if this program can run on the schema.
    pub fn complaint(&self) -> Option<String> {
        const UP: &str = "run `analytics-cli migrate up`, or start analyticsd with --migrate";
        let [pending, altered, unknown] =
            [MigrationState::Pending, MigrationState::Altered, MigrationState::Unknown].map(|state| self.count(state));
        if unknown > 0 && altered > self.count(MigrationState::Applied) {
            Some(
                "the schema was made before the first release, by migrations that no longer exist; make a new database (delete the folder \
                 of a trial, which is .analytics), and import into it"
                    .to_owned(),
            )
        } else if unknown > 0 && !self.is_newer_but_compatible() {
            Some(format!(
                "the schema has {unknown} migration(s) that this build does not know: a newer version made it. Install that version"
            ))
        } else if self.is_newer() && !self.is_newer_but_compatible() {
            Some(format!(
                "the functions of the schema are of version {}, and this build knows {}: a newer version made them. Install that version",
                self.functions.version,
                functions::VERSION
            ))
        } else if altered > 0 {
            Some(format!(
                "{altered} applied migration(s) are not the ones that this build holds; `analytics-cli migrate verify` names them"
            ))
        } else if self.flavour.is_none() {
            Some(format!("the database has no schema yet; {UP}"))
        } else if pending > 0 {
            Some(format!("the schema lacks {pending} migration(s); {UP}"))
        } else {
            match self.functions.state {
                MigrationState::Pending => {
                    Some(format!("the functions of the schema are not those of this build; {UP}"))
                }
                MigrationState::Altered => Some(format!(
                    "{} function(s) or view(s) of the schema were changed by hand; run `analytics-cli migrate up`, which makes them anew",
                    self.functions.drift.len()
                )),
                MigrationState::Applied | MigrationState::Unknown => None,
            }
        }
    }
}

pub(crate) async fn status_of(client: &impl GenericClient) -> Result<SchemaStatus, SchemaError> {
    let settings = settings(client).await?;
    // Without a schema the pending migrations are counted for the plain flavour; both have as many.
    let known_flavour = settings.map_or(Flavour::Postgres, |(flavour, _)| flavour);
    let known = migrations::of(known_flavour);
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
    let functions = functions::status(client, known_flavour).await?;
    Ok(SchemaStatus {
        flavour: settings.map(|(flavour, _)| flavour),
        migrations,
        functions,
        oldest_compatible: settings.map(|(_, oldest)| oldest),
        roles: roles::recorded(client).await?,
    })
}

/// The flavour of a schema, and the migration that a program must know to run on it; none if there is no schema.
pub(super) async fn settings(client: &impl GenericClient) -> Result<Option<(Flavour, i32)>, StoreError> {
    let is_there: bool = client.query_one("select to_regclass('analytics.settings') is not null", &[]).await?.get(0);
    if !is_there {
        return Ok(None);
    }
    let row = client.query_opt("select flavour, oldest_compatible from analytics.settings", &[]).await?;
    Ok(row.and_then(|row| Some((row.get::<_, &str>(0).parse().ok()?, row.get(1)))))
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
