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

/// The file with the number of shards that the spools are for, where there are several.
const COUNT: &str = "shards";

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
        check_count(dir, shards.len())?;
        let budget = Arc::new(SpoolBudget::new(max_bytes));
        metrics.watch_spool_limit(max_bytes);
        let spools = shards.iter().zip(losses).zip(&metrics.shards).enumerate();
        let spools = spools.map(|(shard, ((store, losses), metrics))| {
            SpoolLane::start(&folder_of(dir, shard), &budget, store, metrics, losses, tasks)
        });
        Ok(Self(spools.collect::<Result<_, _>>()?))
    }

    pub(crate) fn of(&self, shard: usize) -> &SpoolLane {
        &self.0[shard]
    }
}

fn folder_of(dir: &Path, shard: usize) -> PathBuf {
    if shard == 0 { dir.to_owned() } else { dir.join(format!("shard-{shard}")) }
}

/// What is in a spool is for the shard of its visitors, which another number of shards would change. A daemon may start
/// while no database can say how many there are.
fn check_count(dir: &Path, shards: usize) -> Result<(), SpoolError> {
    let folder = |error| SpoolError::Folder { path: dir.to_owned(), error };
    private_files::make_folder(dir).map_err(folder)?;
    let file = dir.join(COUNT);
    let found = match fs::read_to_string(&file) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let has_spool = fs::exists(dir.join(super::log::FILE)).map_err(folder)?;
            if !has_spool && shards > 1 {
                private_files::replace(&file, format!("{shards}\n").as_bytes()).map_err(folder)?;
                return Ok(());
            }
            "1".to_owned()
        }
        Err(error) => return Err(folder(error)),
    };
    if found == shards.to_string() {
        Ok(())
    } else {
        Err(SpoolError::OtherShards { path: dir.to_owned(), found, named: shards })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{COUNT, check_count};

    #[test]
    fn a_spool_is_for_one_number_of_shards() {
        let dir = tempfile::tempdir().unwrap();
        let of =
            |folder: &str, shards| check_count(&dir.path().join(folder), shards).map_err(|error| error.to_string());
        assert_eq!((of("four", 4), of("four", 4)), (Ok(()), Ok(())));
        assert_eq!(fs::read_to_string(dir.path().join("four").join(COUNT)).unwrap(), "4\n");
        for shards in [1, 3] {
            assert!(of("four", shards).unwrap_err().contains("for 4 databases"));
        }
        assert_eq!(of("one", 1), Ok(()));
        fs::write(dir.path().join("one/spool.redb"), "").unwrap();
        assert_eq!(of("one", 1), Ok(()));
        assert!(of("one", 2).unwrap_err().contains("for 1 databases"));
    }
}
