//! The spool's file: a redb database of records with growing numbers. It survives a kill at any moment.

use std::{
    fs::{File, remove_file},
    path::Path,
};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, backends::FileBackend};

use super::{
    error::FileError,
    names::{Names, if_there},
    synced_file,
};

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
/// The number of the next record, which grows even when all records are gone.
const NEXT: TableDefinition<&str, u64> = TableDefinition::new("next");

/// The open file and a summary of its content. After an error it must be opened again, because redb requires that.
pub(super) struct SpoolFile {
    database: Database,
    names: Names,
    /// Whether the newest name was drawn since the file was opened. The first append draws it, so that opening writes no
    /// record and the daemon starts on a full disk.
    has_own_name: bool,
    /// The records up to this number are removed.
    removed: u64,
    /// The records up to this number are known to be stored, removed or not.
    stored: u64,
    next: u64,
    bytes: u64,
}

impl SpoolFile {
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        // redb writes when it opens a file that was not closed in good order, and relies on what it has read.
        let file = synced_file::open(path)?;
        let is_new = file.metadata()?.len() == 0;
        let backend = FileBackend::new(file)?;
        // Without the check redb trusts a file that was closed in good order. Damage would then be read as records, or
        // cause a panic.
        let created = Database::builder().set_check_integrity_on_open(true).create_with_backend(backend);
        let database = created.inspect_err(|error| {
            if is_new && !matches!(error, DatabaseError::DatabaseAlreadyOpen) {
                // The file is empty, and a half-made one could not be opened later, when the disk has room.
                let _ = remove_file(path);
            }
        })?;
        if let Some(dir) = path.parent() {
            // The directory entry must survive a crash of the machine, like the content.
            File::open(dir)?.sync_all()?;
        }
        let transaction = database.begin_read()?;
        let names = Names::read(&transaction)?;
        let next = match if_there(transaction.open_table(NEXT))? {
            Some(table) => table.get("")?.map_or(1, |next| next.value()),
            None => 1,
        };
        let (mut first, mut records, mut bytes) = (None, 0, 0);
        if let Some(table) = if_there(transaction.open_table(RECORDS))? {
            for entry in table.iter()? {
                let (number, record) = entry?;
                first.get_or_insert(number.value());
                records += 1;
                bytes += record.value().len() as u64;
            }
        }
        let first = first.unwrap_or(next);
        if first == 0 || first.checked_add(records) != Some(next) {
            return Err(FileError::damaged(format!("{records} records are where {first} to {next} should be")));
        }
        if records > 0 && names.of(first).is_none() {
            return Err(FileError::damaged("its records belong to no spool"));
        }
        let gone = first - 1;
        Ok(Self { database, names, has_own_name: false, removed: gone, stored: gone, next, bytes })
    }

    /// How many records are not known to be stored.
    pub(super) fn pending(&self) -> u64 {
        self.next - 1 - self.stored
    }

    /// The bytes of all records, including stored ones that are not removed yet.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds records, all or none.
    pub(super) fn append(&mut self, records: &[Vec<u8>]) -> Result<(), FileError> {
        let next = self.next + records.len() as u64;
        let transaction = self.database.begin_write()?;
        let new_names = (!self.has_own_name).then(|| self.names.and_a_new_one(self.next).from(self.removed + 1));
        if let Some(names) = &new_names {
            names.write(&transaction)?;
        }
        {
            let mut table = transaction.open_table(RECORDS)?;
            for (number, record) in (self.next..).zip(records) {
                table.insert(number, record.as_slice())?;
            }
            transaction.open_table(NEXT)?.insert("", next)?;
        }
        transaction.commit().map_err(|error| FileError::Undecided(error.into()))?;
        if let Some(names) = new_names {
            self.names = names;
            self.has_own_name = true;
        }
        self.next = next;
        self.bytes += records.iter().map(|record| record.len() as u64).sum::<u64>();
        Ok(())
    }

    /// The name of the oldest record that is not known to be stored.
    pub(super) fn oldest_name(&self) -> Option<&str> {
        if self.pending() == 0 {
            return None;
        }
        self.names.of(self.stored + 1).map(|(name, _)| name)
    }

    /// Passes the oldest records that are not known to be stored to `take`, until it returns false. Passes none if
    /// their name is another one.
    pub(super) fn oldest_of(&self, name: &str, mut take: impl FnMut(u64, &[u8]) -> bool) -> Result<(), FileError> {
        let first = self.stored + 1;
        let last = match self.names.of(first) {
            Some((oldest, last)) if oldest == name => last,
            _ => return Ok(()),
        };
        let transaction = self.database.begin_read()?;
        let Some(table) = if_there(transaction.open_table(RECORDS))? else { return Ok(()) };
        for entry in table.range(first..=last)? {
            let (number, record) = entry?;
            if !take(number.value(), record.value()) {
                break;
            }
        }
        Ok(())
    }

    /// Notes that the records of a name are stored up to a number, and with them all earlier records. The number may be
    /// greater than any that this file has under the name: the file is then an older copy, or has a twin.
    pub(super) fn note_stored(&mut self, name: &str, to: u64) {
        if let Some(last) = self.names.last_of(name) {
            self.stored = self.stored.max(to.min(last).min(self.next - 1));
        }
    }

    /// Removes the records that are known to be stored, and names without records.
    pub(super) fn remove_stored(&mut self) -> Result<(), FileError> {
        if self.removed == self.stored {
            return Ok(());
        }
        let mut bytes = 0;
        let names = self.names.from(self.stored + 1);
        let transaction = self.database.begin_write()?;
        transaction.open_table(RECORDS)?.retain_in(..=self.stored, |_, record| {
            bytes += record.len() as u64;
            false
        })?;
        if names != self.names {
            names.write(&transaction)?;
        }
        transaction.commit()?;
        self.names = names;
        self.removed = self.stored;
        self.bytes -= bytes;
        Ok(())
    }
}
