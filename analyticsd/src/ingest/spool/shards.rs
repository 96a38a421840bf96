//! The spools of all shards, in one folder. That of shard 0 is where the one of a counter of one database is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use db::Shards;

use super::{SpoolError, SpoolLane, log::SpoolBudget};
use crate::{
    ingest::losses::Losses,
    process::{private_files, tasks::Tasks},
    telemetry::metrics::Metrics,
};

/// The file with the number of shards that the spools are for, and their counter; where there are several.
const COUNTER: &str = "shards";

/// The spool of each shard.
pub(crate) struct ShardSpools(Vec<SpoolLane>);

impl ShardSpools {
    /// Opens them, creates what is not there, and starts to store the requests of an earlier run. Together they hold
    /// `max_bytes`.
    pub(crate) fn start(
        dir: &Path,
        max_bytes: u64,
        shards: &Shards,
        losses: &[Losses],
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, SpoolError> {
        remember(dir, shards)?;
        let budget = Arc::new(SpoolBudget::new(max_bytes));
        metrics.watch_spool_limit(max_bytes);
        let spools = shards.iter().zip(losses).zip(&metrics.shards).enumerate();
        let spools = spools.map(|(shard, ((store, losses), metrics))| {
            SpoolLane::start(&folder_of(dir, shard), &budget, store, metrics, losses, tasks)
        });
        Ok(Self(spools.collect::<Result<_, _>>()?))
    }

    /// Lets the shards that answer be used while others are away, if an earlier run has left the counter in the folder. Refuses a folder with the
    /// spools of another number of shards.
    pub(crate) fn recall_counter(dir: &Path, shards: &Shards) -> Result<(), SpoolError> {
        if let Some(counter) = recalled(dir, shards.len())? {
            shards.remember(&counter);
        }
        Ok(())
    }

    pub(crate) fn of(&self, shard: usize) -> &SpoolLane {
        &self.0[shard]
    }
}

fn folder_of(dir: &Path, shard: usize) -> PathBuf {
    if shard == 0 { dir.to_owned() } else { dir.join(format!("shard-{shard}")) }
}

/// What is in a spool is for the shard of its visitors, which another number of shards would change, and for one counter. A
/// daemon may start while no database can say which it is.
fn recalled(dir: &Path, shards: usize) -> Result<Option<String>, SpoolError> {
    let folder = |error| SpoolError::Folder { path: dir.to_owned(), error };
    let text = match fs::read_to_string(dir.join(COUNTER)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let of_one = fs::exists(dir.join(super::log::FILE)).map_err(folder)? && shards > 1;
            return if of_one { Err(other_shards(dir, "1", shards)) } else { Ok(None) };
        }
        Err(error) => return Err(folder(error)),
    };
    let mut words = text.split_whitespace();
    let count = words.next().unwrap_or("an unknown number of");
    if count == shards.to_string() {
        Ok(words.next().map(str::to_owned))
    } else {
        Err(other_shards(dir, count, shards))
    }
}

fn other_shards(dir: &Path, found: &str, named: usize) -> SpoolError {
    SpoolError::OtherShards { path: dir.to_owned(), found: found.to_owned(), named }
}

/// Writes down for which counter the spools are.
fn remember(dir: &Path, shards: &Shards) -> Result<(), SpoolError> {
    let folder = |error| SpoolError::Folder { path: dir.to_owned(), error };
    private_files::make_folder(dir).map_err(folder)?;
    match (recalled(dir, shards.len())?, shards.counter()) {
        (None, Some(counter)) if shards.len() > 1 => {
            let text = format!("{} {counter}\n", shards.len());
            private_files::replace(&dir.join(COUNTER), text.as_bytes()).map_err(folder)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use db::{Shards, StoreOptions};

    use super::{COUNTER, ShardSpools, recalled, remember};

    fn shards(count: usize) -> Shards {
        Shards::new(&vec!["postgres://h/db"; count], &StoreOptions::default()).unwrap()
    }

    #[test]
    fn a_spool_is_for_one_counter_and_one_number_of_shards() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("spool");
        let of_a = shards(4);
        of_a.remember("a");
        remember(&folder, &of_a).unwrap();
        assert_eq!(fs::read_to_string(folder.join(COUNTER)).unwrap(), "4 a\n");

        let next = shards(4);
        ShardSpools::recall_counter(&folder, &next).unwrap();
        assert_eq!(next.counter(), Some("a"));
        for count in [1, 3] {
            assert!(recalled(&folder, count).unwrap_err().to_string().contains("for 4 databases"));
        }
        fs::write(folder.join(COUNTER), "").unwrap();
        assert!(recalled(&folder, 4).unwrap_err().to_string().contains("an unknown number of databases"));
    }

    #[test]
    fn a_spool_of_one_database_is_not_used_for_several() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(recalled(dir.path(), 1).unwrap(), None);
        fs::write(dir.path().join("spool.redb"), "").unwrap();
        assert_eq!(recalled(dir.path(), 1).unwrap(), None);
        assert!(recalled(dir.path(), 2).unwrap_err().to_string().contains("for 1 databases"));
    }
}
