//! The objects of the schema, as migrations and functions make them and as a database has them.
//!
//! What they make stands in `db/schema.sql`, which a test holds against databases that were just migrated and, with `UPDATE_SCHEMA=1`, writes anew.

use std::{collections::BTreeMap, fmt};

use tokio_postgres::Transaction;

use crate::{Flavour, StoreError};

const PAGE: &str = include_str!("../../schema.sql");

/// An object of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is and called, for example `index analytics.events_at`.
    pub name: String,
    /// What it is made of.
    pub definition: String,
}

/// An object that is not as the migrations make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What it is and called.
    pub object: String,
    /// What is the matter with it.
    pub kind: DriftKind,
}

/// What is the matter with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftKind {
    /// It is not there.
    Missing,
    /// It is there, and the migrations make it otherwise.
    Changed,
    /// It is there, and no migration makes it.
    Added,
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Added => "added",
        })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.object)
    }
}

/// What migrations and functions of a flavour make, in the order of the page.
pub(crate) fn expected(flavour: Flavour) -> Vec<Object> {
    read(PAGE, flavour)
}

/// Reads a page. A line at its margin begins an object, one that is indented by four blanks is part of it, and one by eight goes on with the line before.
fn read(page: &str, flavour: Flavour) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    let mut is_of_flavour = true;
    let mut begun = String::new();
    // Where the table or view stands whose columns are read.
    let mut relation: Option<usize> = None;
    for line in whole_lines(page) {
        if let Some(section) = line.strip_prefix("-- ==== ") {
            is_of_flavour = section.contains("both") || section.contains(flavour.as_str());
        }
        if !is_of_flavour || line.is_empty() || line.trim_start().starts_with("--") {
            continue;
        }
        let part = line.trim().trim_end_matches([';', ',']);
        if let Some(name) = part.strip_prefix("create ") {
            relation = None;
            name.clone_into(&mut begun);
            if let Some(name) = name.strip_suffix(" (") {
                relation = Some(objects.len());
                objects.push(Object { name: name.to_owned(), definition: String::new() });
            }
        } else if let Some(place) = relation {
            if let Some(definition) = line.strip_prefix(')') {
                definition.trim_end_matches(';').trim().clone_into(&mut objects[place].definition);
                continue;
            }
            let called = objects[place].name.rsplit(' ').next().unwrap_or_default();
            let (kind, part) = part.strip_prefix("constraint ").map_or(("column", part), |rest| ("constraint", rest));
            let (name, definition) = part.split_once(' ').unwrap_or((part, ""));
            let name = format!("{kind} {called}.{name}");
            objects.push(Object { name, definition: definition.to_owned() });
        } else {
            objects.push(Object { name: begun.clone(), definition: part.to_owned() });
        }
    }
    objects
}

/// The lines of a page, each with those that go on with it.
fn whole_lines(page: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in page.lines() {
        match (line.strip_prefix("        "), lines.last_mut()) {
            (Some(more), Some(begun)) => *begun = format!("{begun} {more}"),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// An object of a database, as `db/schema.sql` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The table, view or function that it stands with.
    pub block: String,
    /// The object itself.
    pub object: Object,
    /// What is said of it.
    pub comment: Option<String>,
}

/// What a database has. Changes nothing.
pub(crate) async fn shown(transaction: &Transaction<'_>, flavour: Flavour) -> Result<Vec<Shown>, StoreError> {
    // What the catalog's functions print depends on settings, of which every session of ours pins the others. A name has its schema.
    transaction.batch_execute("set local search_path = pg_catalog").await?;
    let mut rows = transaction.query(include_str!("common.sql"), &[]).await?;
    if flavour == Flavour::Timescale {
        rows.extend(transaction.query(include_str!("timescale.sql"), &[]).await?);
    }
    let shown = rows.iter().map(|row| Shown {
        block: row.get(0),
        object: Object { name: row.get(1), definition: row.get(2) },
        comment: row.get(3),
    });
    Ok(shown.collect())
}

/// The same as objects alone.
pub(crate) async fn found(transaction: &Transaction<'_>, flavour: Flavour) -> Result<Vec<Object>, StoreError> {
    Ok(shown(transaction, flavour).await?.into_iter().map(|shown| shown.object).collect())
}

/// How what was found differs from what was expected: what is missing first, then what is changed, then what was added.
pub(crate) fn compare(expected: &[Object], found: &[Object]) -> Vec<Drift> {
    let by_name = |objects: &[Object]| -> BTreeMap<String, String> {
        objects.iter().map(|object| (object.name.clone(), object.definition.clone())).collect()
    };
    let (expected, found) = (by_name(expected), by_name(found));
    let drift = |object: &String, kind| Drift { object: object.clone(), kind };
    let expected_ones = expected.iter().filter_map(|(object, definition)| match found.get(object) {
        None => Some(drift(object, DriftKind::Missing)),
        Some(there) if there != definition => Some(drift(object, DriftKind::Changed)),
        Some(_) => None,
    });
    let others = found.keys().filter(|object| !expected.contains_key(*object));
    let mut drifts: Vec<Drift> = expected_ones.chain(others.map(|object| drift(object, DriftKind::Added))).collect();
    drifts.sort_by_key(|drift| drift.kind);
    drifts
}
