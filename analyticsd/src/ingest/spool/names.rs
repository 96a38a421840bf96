//! The names under which the database knows the records of a spool.
//!
//! The database records by name and number how far a spool is stored. A file may be an older copy of itself, or have a
//! twin in another folder. Then it assigns numbers again that are stored already. So each time a file is opened, the
//! next records get a new name, whatever their numbers are; older records keep theirs.

use std::collections::BTreeMap;

use rand::RngExt;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

/// Each name with its first number. It is valid until the next name begins.
const NAMES: TableDefinition<u64, &str> = TableDefinition::new("names");
/// Earlier versions stored one name for all records here.
const ONLY_NAME: TableDefinition<&str, &str> = TableDefinition::new("name");

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names(BTreeMap<u64, String>);

impl Names {
    pub(super) fn read(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        let mut names = BTreeMap::new();
        if let Some(table) = if_there(transaction.open_table(ONLY_NAME))?
            && let Some(name) = table.get("")?
        {
            names.insert(0, name.value().to_owned());
        }
        if let Some(table) = if_there(transaction.open_table(NAMES))? {
            for entry in table.iter()? {
                let (first, name) = entry?;
                names.insert(first.value(), name.value().to_owned());
            }
        }
        Ok(Self(names))
    }

    /// Replaces all names in the file.
    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        transaction.delete_table(ONLY_NAME)?;
        transaction.delete_table(NAMES)?;
        let mut table = transaction.open_table(NAMES)?;
        for (first, name) in &self.0 {
            table.insert(first, name.as_str())?;
        }
        Ok(())
    }

    /// These names and a new one, unique among all spools, which begins at `first`.
    pub(super) fn and_a_new_one(&self, first: u64) -> Self {
        let mut names = self.0.clone();
        names.insert(first, format!("{:032x}", rand::rng().random::<u128>()));
        Self(names)
    }

    /// The names of the records from a number on.
    pub(super) fn from(&self, number: u64) -> Self {
        let before = self.0.range(..=number).next_back();
        let first = before.map_or(number, |(&first, _)| first);
        Self(self.0.range(first..).map(|(&first, name)| (first, name.clone())).collect())
    }

    /// The name of a record, and the last number of that name.
    pub(super) fn of(&self, number: u64) -> Option<(&str, u64)> {
        let (_, name) = self.0.range(..=number).next_back()?;
        let next = self.0.range(number.saturating_add(1)..).next();
        Some((name, next.map_or(u64::MAX, |(&first, _)| first - 1)))
    }

    /// The last number of a name, if it is one of these.
    pub(super) fn last_of(&self, name: &str) -> Option<u64> {
        let (&first, _) = self.0.iter().find(|(_, known)| *known == name)?;
        self.of(first).map(|(_, last)| last)
    }
}

/// The table, or `None` if it was never written to.
pub(super) fn if_there<T>(table: Result<T, TableError>) -> Result<Option<T>, TableError> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    fn names(all: &[(u64, &str)]) -> Names {
        Names(all.iter().map(|&(first, name)| (first, name.to_owned())).collect())
    }

    #[test]
    fn a_name_is_valid_up_to_where_the_next_begins() {
        let names = names(&[(0, "a"), (4, "b")]);
        assert_eq!((names.of(0), names.of(3)), (Some(("a", 3)), Some(("a", 3))));
        assert_eq!((names.of(4), names.of(9)), (Some(("b", u64::MAX)), Some(("b", u64::MAX))));
        assert_eq!((names.last_of("a"), names.last_of("b"), names.last_of("c")), (Some(3), Some(u64::MAX), None));
        assert_eq!(Names::default().of(1), None);
    }

    #[test]
    fn names_without_records_can_be_left_out() {
        let all = names(&[(0, "a"), (4, "b"), (6, "c")]);
        assert_eq!(all.from(3), all);
        assert_eq!(all.from(4), names(&[(4, "b"), (6, "c")]));
        assert_eq!(all.from(9), names(&[(6, "c")]));
        assert_eq!(names(&[(4, "b")]).from(1), names(&[(4, "b")]));
    }
}
