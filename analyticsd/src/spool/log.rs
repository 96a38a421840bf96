//! The spool's file: records under growing numbers, in a redb database, which survives being killed at any moment.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::RngExt;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use thiserror::Error;

const FILE: &str = "spool.redb";
const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
/// What the spool is called in the database: drawn at random when the file is made, so that no two are the same.
const NAME: TableDefinition<&str, &str> = TableDefinition::new("name");
/// The number of the next record, which grows even when all records are gone.
const NEXT: TableDefinition<&str, u64> = TableDefinition::new("next");

/// A spool that cannot be used, or that cannot take more.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// It holds as much as it may.
    #[error("the spool is full: it holds {held} bytes of at most {limit}; --spool-size sets the limit")]
    Full {
        /// How much it holds, in bytes.
        held: u64,
        /// How much it may hold, in bytes.
        limit: u64,
    },
    /// Another process uses it.
    #[error("{} is in use by another analyticsd; each needs a folder of its own with --spool DIR", .0.display())]
    InUse(PathBuf),
    /// The folder cannot be made.
    #[error("cannot use {} for the spool: {source}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed, or writing before anything was to be kept: nothing was added.
    #[error("the spool's file: {0}")]
    Storage(#[source] Box<redb::Error>),
    /// Writing failed at its last step, so that what was to be added may be there or not.
    #[error("the spool's file, while writing: {0}")]
    Undecided(#[source] Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for SpoolError {
    fn from(error: E) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

/// Records of one daemon, appended durably and removed once they are stored.
pub(crate) struct SpoolLog {
    path: PathBuf,
    max_bytes: u64,
    /// Beside the state, because that is locked while the disk writes.
    records: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// None after a failure: redb wants its file to be opened anew then.
    database: Option<Database>,
    name: String,
    next: u64,
    records: u64,
    bytes: u64,
}

impl SpoolLog {
    pub(crate) fn open(dir: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        // Users' names are nobody else's business.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| SpoolError::Folder { path: dir.to_owned(), source })?;
        let path = dir.join(FILE);
        let state = State::open(&path)?;
        // The file's name must survive a crash of the machine as its content does.
        let synced = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|source| SpoolError::Folder { path: dir.to_owned(), source })?;
        Ok(Self { path, max_bytes, records: AtomicU64::new(state.records), state: Mutex::new(state) })
    }

    /// What the spool is called in the database.
    pub(crate) fn name(&self) -> String {
        self.state().name.clone()
    }

    /// How many records it holds.
    pub(crate) fn len(&self) -> i64 {
        i64::try_from(self.records.load(Ordering::SeqCst)).unwrap_or(i64::MAX)
    }

    /// Adds records, all or none. When this returns `Ok` they are on disk.
    pub(crate) fn append(&self, records: &[Vec<u8>]) -> Result<(), SpoolError> {
        let mut state = self.state();
        let more: u64 = records.iter().map(|record| record.len() as u64).sum();
        if state.bytes + more > self.max_bytes {
            return Err(SpoolError::Full { held: state.bytes, limit: self.max_bytes });
        }
        let first = state.next;
        let next = first + records.len() as u64;
        let appended = (|| {
            let transaction = state.database(&self.path)?.begin_write()?;
            {
                let mut table = transaction.open_table(RECORDS)?;
                for (number, record) in (first..).zip(records) {
                    table.insert(number, record.as_slice())?;
                }
                transaction.open_table(NEXT)?.insert("", next)?;
            }
            transaction.commit().map_err(|error| SpoolError::Undecided(Box::new(error.into())))
        })();
        if appended.is_err() {
            state.database = None;
            return appended;
        }
        state.next = next;
        state.records += records.len() as u64;
        state.bytes += more;
        self.records.store(state.records, Ordering::SeqCst);
        Ok(())
    }

    /// The oldest records with their numbers, as many as `take` says yes to.
    pub(crate) fn oldest(&self, mut take: impl FnMut(u64, &[u8]) -> bool) -> Result<(), SpoolError> {
        let mut state = self.state();
        let read = (|| {
            let transaction = state.database(&self.path)?.begin_read()?;
            for entry in transaction.open_table(RECORDS)?.iter()? {
                let (number, record) = entry?;
                if !take(number.value(), record.value()) {
                    break;
                }
            }
            Ok(())
        })();
        state.reopen_after(read)
    }

    /// Removes the records up to a number, which are stored.
    pub(crate) fn remove_up_to(&self, last: u64) -> Result<(), SpoolError> {
        let mut state = self.state();
        let (mut records, mut bytes) = (0, 0);
        let removed = (|| {
            let transaction = state.database(&self.path)?.begin_write()?;
            transaction.open_table(RECORDS)?.retain_in(..=last, |_, record| {
                records += 1;
                bytes += record.len() as u64;
                false
            })?;
            transaction.commit()?;
            Ok(())
        })();
        if removed.is_ok() {
            state.records -= records;
            state.bytes -= bytes;
            self.records.store(state.records, Ordering::SeqCst);
        }
        state.reopen_after(removed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state comes after the file's, so it is whole even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(path: &Path) -> Result<Self, SpoolError> {
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => SpoolError::InUse(path.to_owned()),
            other => other.into(),
        })?;
        let transaction = database.begin_write()?;
        let (name, next, records, bytes) = {
            let mut names = transaction.open_table(NAME)?;
            let known = names.get("")?.map(|name| name.value().to_owned());
            let name = known.unwrap_or_else(|| format!("{:032x}", rand::rng().random::<u128>()));
            names.insert("", name.as_str())?;
            let next = transaction.open_table(NEXT)?.get("")?.map_or(1, |next| next.value());
            let (mut records, mut bytes) = (0, 0);
            for entry in transaction.open_table(RECORDS)?.iter()? {
                records += 1;
                bytes += entry?.1.value().len() as u64;
            }
            (name, next, records, bytes)
        };
        transaction.commit()?;
        Ok(Self { database: Some(database), name, next, records, bytes })
    }

    fn database(&mut self, path: &Path) -> Result<&Database, SpoolError> {
        if self.database.is_none() {
            *self = Self::open(path)?;
        }
        self.database.as_ref().ok_or_else(|| StorageError::DatabaseClosed.into())
    }

    fn reopen_after<T>(&mut self, outcome: Result<T, SpoolError>) -> Result<T, SpoolError> {
        if outcome.is_err() {
            self.database = None;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::{SpoolError, SpoolLog};

    fn numbers(log: &SpoolLog) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        log.oldest(|number, record| {
            all.push((number, record.to_owned()));
            true
        })
        .unwrap();
        all
    }

    #[test]
    fn records_are_there_in_order_after_opening_anew_and_numbers_never_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = SpoolLog::open(dir.path(), 100).unwrap();
        let name = log.name();
        log.append(&[b"a".to_vec(), b"b".to_vec()]).unwrap();
        log.append(&[b"c".to_vec()]).unwrap();
        log.remove_up_to(1).unwrap();
        drop(log);

        let log = SpoolLog::open(dir.path(), 100).unwrap();
        assert_eq!(log.name(), name);
        assert_eq!(numbers(&log), [(2, b"b".to_vec()), (3, b"c".to_vec())]);
        log.remove_up_to(3).unwrap();
        drop(log);

        let log = SpoolLog::open(dir.path(), 100).unwrap();
        log.append(&[b"d".to_vec()]).unwrap();
        assert_eq!(numbers(&log), [(4, b"d".to_vec())]);
    }

    #[test]
    fn what_it_may_hold_is_bounded_and_there_is_room_again_when_records_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let log = SpoolLog::open(dir.path(), 10).unwrap();
        log.append(&[vec![0; 8]]).unwrap();
        assert!(matches!(log.append(&[vec![0; 3]]), Err(SpoolError::Full { held: 8, limit: 10 })));
        assert_eq!(log.len(), 1);
        log.remove_up_to(1).unwrap();
        log.append(&[vec![0; 3]]).unwrap();
    }

    #[test]
    fn two_cannot_use_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        let _log = SpoolLog::open(dir.path(), 10).unwrap();
        assert!(matches!(SpoolLog::open(dir.path(), 10), Err(SpoolError::InUse(_))));
    }
}
