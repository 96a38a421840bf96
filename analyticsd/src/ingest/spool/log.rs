//! The spool's records: appended durably within a limit, read in order, and removed once they are stored. The file is
//! opened again after each failure.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use super::{
    error::{FileError, SpoolError},
    file::SpoolFile,
};
use crate::{
    process::private_files,
    telemetry::metrics::{self, ShardMetrics},
};

pub(super) const FILE: &str = "spool.redb";

/// How much the spools of all shards hold, and may hold, together.
pub(crate) struct SpoolBudget {
    max_bytes: u64,
    held: AtomicU64,
}

impl SpoolBudget {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, held: AtomicU64::new(0) }
    }

    fn held(&self) -> u64 {
        self.held.load(Ordering::SeqCst)
    }

    /// Notes that a spool holds so many bytes now, and held so many before.
    fn note(&self, before: u64, now: u64) {
        self.held.fetch_add(now, Ordering::SeqCst);
        self.held.fetch_sub(before, Ordering::SeqCst);
    }
}

/// The records of one shard.
pub(crate) struct SpoolLog {
    path: PathBuf,
    budget: Arc<SpoolBudget>,
    /// Outside of the state, because the state is locked during writes to the disk.
    pending: AtomicU64,
    /// The bytes of all records, including stored ones that are not removed yet.
    bytes: AtomicU64,
    /// Since when records have been pending without a break, in milliseconds since 1970; 0 if none are.
    pending_since: AtomicI64,
    state: Mutex<State>,
}

struct State {
    /// `None` after a failure, until the file can be opened again.
    file: Option<SpoolFile>,
    /// The last position that is known to be stored, with its name, because the path may lead to another file when it
    /// is opened again.
    stored: Option<(String, u64)>,
}

impl SpoolLog {
    pub(crate) fn open(dir: &Path, budget: &Arc<SpoolBudget>) -> Result<Self, SpoolError> {
        private_files::make_folder(dir).map_err(|error| SpoolError::Folder { path: dir.to_owned(), error })?;
        let state = Mutex::new(State { file: None, stored: None });
        let log = Self {
            path: dir.join(FILE),
            budget: Arc::clone(budget),
            pending: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            pending_since: AtomicI64::new(0),
            state,
        };
        log.on_file(|_| Ok(()))?;
        Ok(log)
    }

    /// How many records it holds that are not known to be stored.
    pub(crate) fn len(&self) -> i64 {
        i64::try_from(self.pending.load(Ordering::SeqCst)).unwrap_or(i64::MAX)
    }

    /// Adds records, all or none. When this returns `Ok` they are on disk.
    pub(crate) fn append(&self, records: &[Vec<u8>]) -> Result<(), SpoolError> {
        let more: u64 = records.iter().map(|record| record.len() as u64).sum();
        let limit = self.budget.max_bytes;
        // The file is opened if it is not, and counts then.
        self.on_file(|_| Ok(()))?;
        if self.budget.held() + more > limit {
            self.remove_stored().ok();
        }
        let held = self.budget.held();
        if held + more > limit {
            return Err(SpoolError::Full { held, limit });
        }
        self.on_file(|file| file.append(records))
    }

    /// The name of the oldest record that is not known to be stored.
    pub(crate) fn oldest_name(&self) -> Result<Option<String>, SpoolError> {
        self.on_file(|file| Ok(file.oldest_name().map(str::to_owned)))
    }

    /// See [`SpoolFile::oldest_of`].
    pub(crate) fn oldest_of(&self, name: &str, take: impl FnMut(u64, &[u8]) -> bool) -> Result<(), SpoolError> {
        self.on_file(|file| file.oldest_of(name, take))
    }

    /// Notes that the records of a name are stored up to a number. This stays in memory, so that it needs no room on
    /// the disk; after a restart the daemon learns it from the database.
    pub(crate) fn note_stored(&self, name: &str, to: u64) {
        let mut state = self.state();
        state.stored = Some((name.to_owned(), to));
        if let Some(file) = &mut state.file {
            file.note_stored(name, to);
            self.note(file);
        }
    }

    /// Copies the numbers that are read while the state is locked.
    fn note(&self, file: &SpoolFile) {
        let pending = file.pending();
        self.pending.store(pending, Ordering::SeqCst);
        let before = self.bytes.swap(file.bytes(), Ordering::Relaxed);
        self.budget.note(before, file.bytes());
        if pending == 0 {
            self.pending_since.store(0, Ordering::Relaxed);
        } else if self.pending_since.load(Ordering::Relaxed) == 0 {
            self.pending_since.store(metrics::millis_since_1970(), Ordering::Relaxed);
        }
    }

    /// Removes the records that are known to be stored.
    pub(crate) fn remove_stored(&self) -> Result<(), SpoolError> {
        self.on_file(SpoolFile::remove_stored)
    }

    fn on_file<T>(&self, act: impl FnOnce(&mut SpoolFile) -> Result<T, FileError>) -> Result<T, SpoolError> {
        let mut state = self.state();
        let done = self.opened(&mut state).and_then(|mut file| {
            let done = act(&mut file)?;
            state.file = Some(file);
            Ok(done)
        });
        if done.is_err() {
            // Open it again at once, because only the file knows what it holds now. If that fails, the next call tries
            // again.
            state.file = self.opened(&mut state).ok();
        }
        if let Some(file) = &state.file {
            self.note(file);
        }
        done.map_err(|error| error.of_file(&self.path))
    }

    /// Takes the file out of the state, so that a panic does not leave it there.
    fn opened(&self, state: &mut State) -> Result<SpoolFile, FileError> {
        if let Some(file) = state.file.take() {
            return Ok(file);
        }
        let mut file = SpoolFile::open(&self.path)?;
        if let Some((name, to)) = &state.stored {
            file.note_stored(name, *to);
        }
        Ok(file)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the spool's numbers to the metrics.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn watch(log: &Arc<SpoolLog>, metrics: &ShardMetrics) {
    type Read = fn(&SpoolLog) -> f64;
    let values: [(&str, &str, Read); 3] = [
        ("analyticsd_spooled_requests", "Requests in the spool", |log| log.len() as f64),
        ("analyticsd_spool_used_bytes", "Bytes of the requests in the spool, of analyticsd_spool_limit_bytes", |log| {
            log.bytes.load(Ordering::Relaxed) as f64
        }),
        (
            "analyticsd_spool_oldest_age_seconds",
            "How long the spool has held requests without a break, since this process started; no request that it accepted is older",
            |log| match log.pending_since.load(Ordering::Relaxed) {
                0 => 0.0,
                since => (metrics::millis_since_1970() - since).max(0) as f64 / 1e3,
            },
        ),
    ];
    for (name, help, read) in values {
        let log = Arc::downgrade(log);
        metrics.watch(name, help, vec![], move || log.upgrade().map(|log| read(&log)));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, chown, symlink},
        path::Path,
    };

    use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

    use std::sync::Arc;

    use super::{FILE, SpoolBudget, SpoolError, SpoolLog};

    fn budget(bytes: u64) -> Arc<SpoolBudget> {
        Arc::new(SpoolBudget::new(bytes))
    }

    fn open(dir: &Path) -> SpoolLog {
        SpoolLog::open(dir, &budget(100)).unwrap()
    }

    fn append(log: &SpoolLog, records: &[&str]) {
        log.append(&records.iter().map(|record| record.as_bytes().to_vec()).collect::<Vec<_>>()).unwrap();
    }

    /// The pending records with their numbers, for each name.
    fn pending(log: &SpoolLog) -> Vec<(String, Vec<(u64, String)>)> {
        let mut all = Vec::new();
        while let Some(name) = log.oldest_name().unwrap() {
            let mut records = Vec::new();
            log.oldest_of(&name, |number, record| {
                records.push((number, String::from_utf8(record.to_owned()).unwrap()));
                true
            })
            .unwrap();
            log.note_stored(&name, records.last().unwrap().0);
            all.push((name, records));
        }
        all
    }

    fn records(all: &[(String, Vec<(u64, String)>)]) -> Vec<(u64, &str)> {
        all.iter().flat_map(|(_, records)| records).map(|(number, record)| (*number, record.as_str())).collect()
    }

    #[test]
    fn records_keep_their_order_after_reopening_and_numbers_are_never_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        append(&log, &["a", "b"]);
        append(&log, &["c"]);
        let name = log.oldest_name().unwrap().unwrap();
        log.note_stored(&name, 1);
        log.remove_stored().unwrap();
        drop(log);

        let log = open(dir.path());
        assert_eq!(log.len(), 2);
        assert_eq!(pending(&log), [(name, vec![(2, "b".to_owned()), (3, "c".to_owned())])]);
        log.remove_stored().unwrap();
        drop(log);

        let log = open(dir.path());
        append(&log, &["d"]);
        assert_eq!(records(&pending(&log)), [(4, "d")]);
    }

    #[test]
    fn the_size_is_bounded_and_storing_records_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let log = SpoolLog::open(dir.path(), &budget(10)).unwrap();
        log.append(&[vec![0; 8]]).unwrap();
        assert!(matches!(log.append(&[vec![0; 3]]), Err(SpoolError::Full { held: 8, limit: 10 })));
        assert_eq!(log.len(), 1);
        log.note_stored(&log.oldest_name().unwrap().unwrap(), 1);
        log.append(&[vec![0; 3]]).unwrap();
        assert_eq!(log.len(), 1);
    }

    #[test]
    fn stored_records_that_are_still_in_the_file_are_not_pending_also_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        append(&log, &["a", "b", "c"]);
        log.note_stored(&log.oldest_name().unwrap().unwrap(), 2);
        assert_eq!(log.len(), 1);

        // As after any failure.
        log.state().file = None;
        assert_eq!(records(&pending(&log)), [(3, "c")]);
        drop(log);
        assert_eq!(open(dir.path()).len(), 3, "another daemon asks the database");
    }

    #[test]
    fn another_file_at_the_same_path_does_not_take_over_the_stored_position_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        append(&log, &["a", "b", "c"]);
        log.note_stored(&log.oldest_name().unwrap().unwrap(), 3);
        fs::rename(dir.path().join(FILE), dir.path().join("aside")).unwrap();
        log.state().file = None;
        append(&log, &["d"]);
        assert_eq!(records(&pending(&log)), [(1, "d")]);
    }

    #[test]
    fn records_that_an_older_copy_appends_under_stored_numbers_are_pending() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        append(&log, &["a", "b"]);
        drop(log);
        let copy = fs::read(dir.path().join(FILE)).unwrap();
        let log = open(dir.path());
        append(&log, &["c", "d"]);
        let names: Vec<_> = pending(&log).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 2);
        drop(log);

        fs::write(dir.path().join(FILE), copy).unwrap();
        let log = open(dir.path());
        append(&log, &["e"]);
        log.note_stored(&names[0], 4);
        log.remove_stored().unwrap();
        let all = pending(&log);
        assert_eq!(records(&all), [(3, "e")], "also where more is stored under the name than the copy has");
        assert!(!names.contains(&all[0].0));
    }

    #[test]
    fn two_copies_of_a_file_share_the_name_of_old_records_and_draw_their_own_for_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        append(&open(dir.path()), &["a"]);
        let twin = tempfile::tempdir().unwrap();
        fs::copy(dir.path().join(FILE), twin.path().join(FILE)).unwrap();
        let (log, twin) = (open(dir.path()), open(twin.path()));
        append(&log, &["b"]);
        append(&twin, &["c"]);
        let (all, twins) = (pending(&log), pending(&twin));
        assert_eq!((records(&all), records(&twins)), (vec![(1, "a"), (2, "b")], vec![(1, "a"), (2, "c")]));
        assert_eq!(all[0].0, twins[0].0);
        assert_ne!(all[1].0, twins[1].0);
    }

    #[test]
    fn the_records_of_a_file_of_the_first_format_keep_their_name() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::create(dir.path().join(FILE)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TableDefinition::<&str, &str>::new("name")).unwrap().insert("", "old").unwrap();
        transaction.open_table(TableDefinition::<&str, u64>::new("next")).unwrap().insert("", 6).unwrap();
        transaction.open_table(TableDefinition::<u64, &[u8]>::new("records")).unwrap().insert(5, &b"a"[..]).unwrap();
        transaction.commit().unwrap();
        drop(database);

        for _ in 0..2 {
            append(&open(dir.path()), &["b"]);
        }
        let log = open(dir.path());
        let all = pending(&log);
        assert_eq!(records(&all), [(5, "a"), (6, "b"), (7, "b")]);
        assert_eq!((all.len(), all[0].0.as_str()), (3, "old"));
        log.remove_stored().unwrap();
        append(&log, &["c"]);
        assert_eq!(records(&pending(&log)), [(8, "c")]);
    }

    #[test]
    fn names_without_records_are_gone_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            let log = open(dir.path());
            append(&log, &["a", "b"]);
            pending(&log);
            log.remove_stored().unwrap();
        }
        let database = Database::open(dir.path().join(FILE)).unwrap();
        let names = database.begin_read().unwrap().open_table(TableDefinition::<u64, &str>::new("names")).unwrap();
        assert_eq!(names.iter().unwrap().map(|entry| entry.unwrap().0.value()).collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn two_daemons_cannot_use_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        let _log = open(dir.path());
        assert!(matches!(SpoolLog::open(dir.path(), &budget(10)), Err(SpoolError::InUse(_))));
    }

    #[test]
    fn a_file_behind_a_link_stays_there() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(elsewhere.path().join("file"), dir.path().join(FILE)).unwrap();
        append(&open(dir.path()), &["a"]);
        append(&open(dir.path()), &["b"]);
        assert!(dir.path().join(FILE).is_symlink());
        let there: Vec<_> = fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(there, ["file"]);
        assert_eq!(records(&pending(&open(dir.path()))), [(1, "a"), (2, "b")]);
    }

    #[test]
    fn a_file_of_another_user_stays_that_users() {
        let dir = tempfile::tempdir().unwrap();
        append(&open(dir.path()), &["a"]);
        let path = dir.path().join(FILE);
        if chown(&path, Some(65_534), Some(65_534)).is_err() {
            eprintln!("SKIPPED: only root may give a file away");
            return;
        }
        let before = path.metadata().unwrap();
        append(&open(dir.path()), &["b"]);
        let after = path.metadata().unwrap();
        assert_ne!(before.ino(), after.ino(), "it is a copy");
        assert_eq!((after.uid(), after.gid(), after.mode() & 0o777), (65_534, 65_534, 0o600));
    }

    #[test]
    fn the_error_of_a_damaged_file_names_its_path_and_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        append(&open(dir.path()), &["a record that is found in the file"]);
        let path = dir.path().join(FILE);
        let good = fs::read(&path).unwrap();
        let place = good.windows(8).position(|bytes| bytes == b"a record").unwrap();
        let mut changed = good.clone();
        changed[place] = b'A';
        for (damage, bytes) in [
            ("changed", changed),
            ("short", good[..good.len() / 2].to_vec()),
            ("very short", good[..100].to_vec()),
            ("zeros", vec![0; good.len()]),
            ("another file", b"not a spool at all, but a text that is somewhat longer than a header".repeat(9)),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = SpoolLog::open(dir.path(), &budget(100)).err().unwrap_or_else(|| panic!("{damage} is opened"));
            let message = format!("{:#}", anyhow::Error::new(error).context("cannot spool"));
            let known = format!("cannot spool: the spool's file {} is damaged: ", path.display());
            let rest = message.strip_prefix(&known).unwrap_or_else(|| panic!("{damage}: {message}"));
            let (reason, advice) = rest.split_once("; ").unwrap();
            assert_eq!(message.matches(reason).count(), 1, "{damage}: {message}");
            assert!(
                advice.starts_with("move it aside and keep it") && advice.ends_with("start analyticsd again"),
                "{advice}"
            );
        }
    }
}
