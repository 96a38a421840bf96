//! The functions and views: a set that always holds the current definition of each, applied as a whole when it differs from what the database has.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use tokio_postgres::{Client, GenericClient, Transaction};

use crate::{
    Flavour, StoreError,
    objects::{self, Drift, DriftKind, Object},
};

use super::{MigrationState, SchemaError};

/// The version of the set. From the first release on, each change of a file in `functions/` raises it.
pub(super) const VERSION: i32 = 1;
/// The version of the set that a program must hold to run on this one.
const OLDEST_COMPATIBLE: i32 = 1;

/// A file of `functions/`.
struct Definition {
    name: &'static str,
    sql: &'static str,
}

macro_rules! definitions {
    ($folder:literal: $($name:ident)+) => {
        &[$(Definition {
            name: concat!($folder, stringify!($name)),
            sql: include_str!(concat!("../../functions/", $folder, stringify!($name), ".sql")),
        }),+]
    };
}

/// In the order in which they are applied: a view stands behind what it is made of.
const COMMON: &[Definition] = definitions!("":
    access_changes advance_retention advance_sources advance_writer answer archive_site audit audited_parts blocked
    change_day confirm_retention count_access_change count_site_change counts create_access_token create_site
    delete_site fence_all_writers fence_writer fill_visitors first_uncounted_hour forget forget_deleted_sites
    forget_expired_keys forget_idle_writers forget_visitor hour_number hours hours_of ingest ingest_once
    later_counts later_part list_access_tokens list_sites live_access_tokens live_sites lock_class lock_for_rebuild
    look_for_old_versions note_loss number_visitors open_visitors period_counts rebuild rebuild_to_at_least
    recover_sites refusals refuse_deleted_site register_writer rehearse rename_site reopen repair
    revoke_access_token set_cardinality settle shard_of site_changes sources_elsewhere stored_hours take_retention
    take_sites unite_day visitor_sets
    hourly
);
const TIMESCALE: &[Definition] = definitions!("timescale/":
    chunk_of columnstore_after drop_events_before event_days has_chunk has_room make_chunk make_room note_chunk
    refresh_hour set_columnstore_after
);
const POSTGRES: &[Definition] = definitions!("postgres/":
    columnstore_after drop_events_before drop_oldest_events_before event_days has_room make_partition make_room
    partition_of refresh_hour set_columnstore_after
);

fn definitions(flavour: Flavour) -> impl Iterator<Item = &'static Definition> {
    let own = match flavour {
        Flavour::Timescale => TIMESCALE,
        Flavour::Postgres => POSTGRES,
    };
    own.iter().chain(COMMON)
}

fn checksum(flavour: Flavour) -> Vec<u8> {
    let mut sum = Sha256::new();
    for Definition { name, sql } in definitions(flavour) {
        sum.update(format!("{name}\0{sql}\0"));
    }
    sum.finalize().to_vec()
}

/// How the functions and views of a database compare with the set of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionsStatus {
    /// The version of the set that the database has; that of this program if it has none.
    pub version: i32,
    /// Pending if the database has another set than this program, unknown if that is of a newer version.
    pub state: MigrationState,
    /// The functions and views that are not as the set made them, which [`super::inspect`] looks for.
    pub drift: Vec<Drift>,
    /// The version that a program must hold to run on them.
    pub oldest_compatible: i32,
}

impl FunctionsStatus {
    pub(super) fn found(&mut self, drift: Vec<Drift>) {
        if !drift.is_empty() {
            self.state = MigrationState::Altered;
        }
        self.drift = drift;
    }

    /// Whether a newer program made them, and this one can run on them.
    pub(super) fn is_newer_but_compatible(&self) -> bool {
        self.state == MigrationState::Unknown && self.oldest_compatible <= VERSION
    }
}

/// The set that a database has.
struct Recorded {
    version: i32,
    oldest_compatible: i32,
    checksum: Vec<u8>,
    objects: Vec<String>,
}

async fn recorded(client: &impl GenericClient) -> Result<Option<Recorded>, StoreError> {
    let is_there = "select to_regclass('analytics.schema_functions') is not null";
    if !client.query_one(is_there, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let statement = "select version, oldest_compatible, checksum, objects from analytics.schema_functions";
    Ok(client.query_opt(statement, &[]).await?.map(|row| Recorded {
        version: row.get(0),
        oldest_compatible: row.get(1),
        checksum: row.get(2),
        objects: row.get(3),
    }))
}

pub(super) async fn status(client: &impl GenericClient, flavour: Flavour) -> Result<FunctionsStatus, StoreError> {
    let recorded = recorded(client).await?;
    let state = match &recorded {
        Some(recorded) if recorded.version > VERSION => MigrationState::Unknown,
        Some(recorded) if recorded.checksum == checksum(flavour) => MigrationState::Applied,
        _ => MigrationState::Pending,
    };
    let (version, oldest_compatible) =
        recorded.map_or((VERSION, OLDEST_COMPATIBLE), |recorded| (recorded.version, recorded.oldest_compatible));
    Ok(FunctionsStatus { version, state, drift: Vec::new(), oldest_compatible })
}

/// The objects that the set makes, without the columns of its views.
fn of_the_set(objects: &[Object]) -> Vec<&Object> {
    let aggregates: Vec<&str> =
        objects.iter().filter_map(|object| object.name.strip_prefix("continuous aggregate ")).collect();
    let is_of_the_set = |object: &&Object| match object.name.split_once(' ') {
        Some(("function" | "procedure" | "trigger", _)) => true,
        Some(("view", name)) => !aggregates.contains(&name),
        _ => false,
    };
    objects.iter().filter(is_of_the_set).collect()
}

/// The functions and views that are missing, or not as this program's set makes them.
pub(super) async fn drift(transaction: &Transaction<'_>, flavour: Flavour) -> Result<Vec<Drift>, StoreError> {
    Ok(drift_of(&objects::expected(flavour), &objects::found(transaction, flavour).await?))
}

fn drift_of(expected: &[Object], found: &[Object]) -> Vec<Drift> {
    let ours: BTreeSet<&str> = of_the_set(expected).iter().map(|object| object.name.as_str()).collect();
    let mut drift = objects::compare(expected, found);
    drift.retain(|drift| drift.kind != DriftKind::Added && ours.contains(drift.object.as_str()));
    drift
}

/// What applying the set has to do.
pub(super) struct Plan {
    /// What is dropped beforehand: what is no longer in the set, and what cannot be replaced in place.
    drop: Vec<String>,
    /// What is not there before, or is dropped.
    make: Vec<String>,
}

/// Plans how to bring the functions and views to this program's set; none if they are as it makes them. Changes nothing.
pub(super) async fn plan(client: &mut Client, flavour: Flavour) -> Result<Option<Plan>, SchemaError> {
    let recorded = recorded(client).await?;
    let transaction = client.transaction().await?;
    let expected = objects::expected(flavour);
    let found = objects::found(&transaction, flavour).await?;
    if recorded.as_ref().is_some_and(|recorded| recorded.checksum == checksum(flavour))
        && drift_of(&expected, &found).is_empty()
    {
        return Ok(None);
    }

    let names = |objects: Vec<&Object>| -> BTreeSet<String> { objects.iter().map(|it| it.name.clone()).collect() };
    let (wanted, there) = (names(of_the_set(&expected)), names(of_the_set(&found)));
    let recorded: BTreeSet<String> = recorded.into_iter().flat_map(|recorded| recorded.objects).collect();
    let gone = recorded.difference(&wanted).filter(|object| there.contains(*object));
    let remade = wanted.intersection(&there).filter(|object| !is_replaceable(object, &expected, &found));
    let roots: Vec<&String> = gone.chain(remade).collect();

    let mut drop = Vec::new();
    let mut strangers = Vec::new();
    for row in transaction.query(include_str!("dependents.sql"), &[&roots]).await? {
        let (object, root): (String, String) = (row.get(0), row.get(1));
        if wanted.contains(&object) || recorded.contains(&object) {
            drop.push(object);
        } else {
            strangers.push(format!("{object} (on {root})"));
        }
    }
    if !strangers.is_empty() {
        return Err(SchemaError::Dependents(strangers));
    }
    let make = wanted.iter().filter(|object| !there.contains(*object) || drop.contains(object)).cloned().collect();
    Ok(Some(Plan { drop, make }))
}

/// Whether `create or replace` can turn what is there into what is wanted: a function keeps its result, and a view its columns, though some may be added.
fn is_replaceable(object: &str, wanted: &[Object], there: &[Object]) -> bool {
    let definition = |objects: &[Object]| {
        let found = objects.iter().find(|it| it.name == object);
        found.map(|it| it.definition.clone()).unwrap_or_default()
    };
    let result = |definition: String| definition.split(" language ").next().map(str::to_owned);
    match object.split_once(' ') {
        Some(("function", _)) => result(definition(wanted)) == result(definition(there)),
        Some(("view", name)) => columns(name, wanted).starts_with(&columns(name, there)),
        _ => true,
    }
}

fn columns<'a>(view: &str, objects: &'a [Object]) -> Vec<&'a Object> {
    let prefix = format!("column {view}.");
    objects.iter().filter(|object| object.name.starts_with(&prefix)).collect()
}

/// Applies the set in one transaction. What is dropped and made again gets its owner and grants again; what is new, nobody else may call.
pub(super) async fn apply(
    client: &mut Client,
    flavour: Flavour,
    plan: &Plan,
    applied: &mut Vec<String>,
) -> Result<(), SchemaError> {
    let transaction = client.transaction().await?;
    // A function may call one that comes later.
    transaction.batch_execute("set local check_function_bodies = off").await?;
    let names: Vec<&str> = plan.make.iter().filter_map(|object| name_in(object)).collect();
    let rights = transaction.query(include_str!("rights.sql"), &[&names]).await?;
    for object in &plan.drop {
        transaction.batch_execute(&format!("drop {object}")).await?;
    }
    for Definition { name, sql } in definitions(flavour) {
        let failed = |source| SchemaError::Function { name, source };
        transaction.batch_execute(sql).await.map_err(failed)?;
    }
    for object in &plan.make {
        let Some(name) = name_in(object) else { continue };
        let target = object.strip_prefix("view ").map_or_else(|| object.clone(), |view| format!("table {view}"));
        transaction.batch_execute(&format!("revoke all on {target} from public")).await?;
        for row in rights.iter().filter(|row| row.get::<_, &str>(0) == name) {
            let statement = row.get::<_, &str>(1).replace("%s", object).replace("%t", &target);
            transaction.batch_execute(&statement).await?;
        }
    }
    let expected = objects::expected(flavour);
    let objects: Vec<&str> = of_the_set(&expected).iter().map(|object| object.name.as_str()).collect();
    transaction
        .execute(
            "insert into analytics.schema_functions as f (version, oldest_compatible, checksum, objects, applied_at) \
             values ($1, $2, $3, $4, now()) on conflict (singleton) do update set version = excluded.version, \
             oldest_compatible = excluded.oldest_compatible, checksum = excluded.checksum, objects = excluded.objects, \
             applied_at = excluded.applied_at",
            &[&VERSION, &OLDEST_COMPATIBLE, &checksum(flavour), &objects],
        )
        .await?;
    transaction.commit().await?;
    applied.push(format!("functions {VERSION}"));
    Ok(())
}

/// The name of a function, procedure or view, which no two of the set share; none for a trigger, which belongs to its table.
fn name_in(object: &str) -> Option<&str> {
    let (kind, rest) = object.split_once(' ')?;
    if kind == "trigger" { None } else { rest.split('(').next() }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::{COMMON, Definition, POSTGRES, TIMESCALE, is_replaceable};
    use crate::objects::Object;

    #[test]
    fn every_file_of_the_folder_is_in_the_set_and_makes_what_it_is_named_after() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions");
        let in_folder = |place: &str| -> BTreeSet<String> {
            let files = fs::read_dir(folder.join(place)).unwrap().map(|file| file.unwrap().path());
            let stems = files.filter(|file| file.is_file()).map(|file| file.file_stem().unwrap().to_owned());
            stems.map(|stem| format!("{place}{}", stem.to_str().unwrap())).collect()
        };
        for (place, definitions) in [("", COMMON), ("timescale/", TIMESCALE), ("postgres/", POSTGRES)] {
            let listed: BTreeSet<String> = definitions.iter().map(|definition| definition.name.to_owned()).collect();
            assert_eq!(listed, in_folder(place));
            for Definition { name, sql } in definitions {
                let named = name.strip_prefix(place).unwrap();
                let made =
                    ["function", "procedure", "view"].map(|kind| format!("\ncreate or replace {kind} analytics."));
                let made: Vec<&str> = made.iter().flat_map(|begin| sql.split(begin.as_str()).skip(1)).collect();
                assert_eq!(made.len(), 1, "{name} makes one thing");
                assert!(
                    made[0].starts_with(&format!("{named}(")) || made[0].starts_with(&format!("{named} ")),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_function_keeps_its_result_and_a_view_its_columns_to_be_replaced_in_place() {
        let function = |definition: &str| {
            [Object { name: "function analytics.f()".to_owned(), definition: definition.to_owned() }]
        };
        let there = function("returns bigint language sql as body 1");
        assert!(is_replaceable(
            "function analytics.f()",
            &function("returns bigint language plpgsql as body 2"),
            &there
        ));
        assert!(!is_replaceable("function analytics.f()", &function("returns text language sql as body 1"), &there));

        let view = |columns: &[&str]| -> Vec<Object> {
            let column =
                |name: &&str| Object { name: format!("column analytics.v.{name}"), definition: "bigint".to_owned() };
            columns.iter().map(column).collect()
        };
        let there = view(&["a", "b"]);
        for (wanted, is_fine) in [(&["a", "b", "c"][..], true), (&["a"], false), (&["a", "c", "b"], false)] {
            assert_eq!(is_replaceable("view analytics.v", &view(wanted), &there), is_fine, "{wanted:?}");
        }
    }
}
