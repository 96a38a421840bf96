//! The objects of the schema, as the migrations make them and as a database has them.
//!
//! What the migrations make stands in `timescale.txt` and `postgres.txt`, a line an object, which a test holds against databases that were
//! just migrated and, with `UPDATE_OBJECTS=1`, writes anew.

use std::{collections::BTreeMap, fmt};

use tokio_postgres::Transaction;

use crate::{Flavour, StoreError};

/// Objects by what they are and called, for example `index analytics.events_at`, with what they are made of.
pub type Objects = BTreeMap<String, String>;

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
    /// The migrations make it, and it is not there.
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

/// What the migrations of a flavour make.
pub fn expected(flavour: Flavour) -> Objects {
    let text = match flavour {
        Flavour::Timescale => include_str!("timescale.txt"),
        Flavour::Postgres => include_str!("postgres.txt"),
    };
    let split = |line: &str| line.split_once(": ").map(|(object, made_of)| (object.to_owned(), made_of.to_owned()));
    text.lines().filter_map(split).collect()
}

/// What a database has. Changes nothing.
pub(crate) async fn found(transaction: &Transaction<'_>, flavour: Flavour) -> Result<Objects, StoreError> {
    // What the catalog's functions print depends on these.
    transaction
        .batch_execute(
            "set local search_path = pg_catalog; set local timezone = 'UTC'; \
             set local datestyle = 'ISO'; set local intervalstyle = 'postgres'",
        )
        .await?;
    let mut rows = transaction.query(include_str!("common.sql"), &[]).await?;
    if flavour == Flavour::Timescale {
        rows.extend(transaction.query(include_str!("timescale.sql"), &[]).await?);
    }
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// How what was found differs from what was expected: what is missing first, then what is changed, then what was added.
pub(crate) fn compare(expected: &Objects, found: &Objects) -> Vec<Drift> {
    let drift = |object: &String, kind| Drift { object: object.clone(), kind };
    let expected_ones = expected.iter().filter_map(|(object, made_of)| match found.get(object) {
        None => Some(drift(object, DriftKind::Missing)),
        Some(there) if there != made_of => Some(drift(object, DriftKind::Changed)),
        Some(_) => None,
    });
    let others = found.keys().filter(|object| !expected.contains_key(*object));
    let mut drifts: Vec<Drift> = expected_ones.chain(others.map(|object| drift(object, DriftKind::Added))).collect();
    drifts.sort_by_key(|drift| drift.kind);
    drifts
}

#[cfg(test)]
mod tests {
    use super::{Objects, compare, expected};
    use crate::Flavour;

    #[test]
    fn what_is_missing_changed_and_added_is_told_apart() {
        let objects = |pairs: &[(&str, &str)]| -> Objects {
            pairs.iter().map(|&(object, made_of)| (object.to_owned(), made_of.to_owned())).collect()
        };
        let expected = objects(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let found = objects(&[("a", "1"), ("aa", "1"), ("b", "2")]);
        let told: Vec<String> = compare(&expected, &found).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["missing c", "changed b", "added aa"]);
        assert!(compare(&expected, &expected).is_empty());
    }

    /// The databases that the two files come from run different versions of PostgreSQL, so this also shows that the texts do not depend on it.
    #[test]
    fn what_both_flavours_have_is_the_same_in_both() {
        let (timescale, postgres) = (expected(Flavour::Timescale), expected(Flavour::Postgres));
        for object in ["view analytics.hourly", "constraint analytics.settings.settings_retention_check"] {
            assert_eq!(timescale[object], postgres[object], "{object}");
        }
    }
}
