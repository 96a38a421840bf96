//! A disk that fails to write, and forgets what it could not.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{forgetful_disk::run, small_disk::SmallDisk};

const SIZE: u64 = 512 << 20;

/// A file system in a file with holes on another disk. Once that one is full, the holes cannot be filled: to write
/// there fails at the next sync, and the kernel forgets, without another word, that those pages were to be written. It
/// needs the right to mount.
pub(crate) struct FailingDisk {
    folder: PathBuf,
    image: PathBuf,
    below: SmallDisk,
    _dir: TempDir,
}

impl FailingDisk {
    /// An error says why there is none here.
    pub(crate) fn mount(folder: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let below = SmallDisk::mount(dir.path()).map_err(anyhow::Error::msg)?;
        let image = dir.path().join("image");
        File::create(&image)?.set_len(SIZE)?;
        // A journal would turn it read-only at the first failure.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-O", "^has_journal"]).arg(&image))?;
        let disk = Self { folder: folder.to_owned(), image, below, _dir: dir };
        disk.mount_image()?;
        Ok(disk)
    }

    fn mount_image(&self) -> anyhow::Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.folder))
    }

    /// What was never written before cannot be written from now on.
    pub(crate) fn fail(&self) -> anyhow::Result<()> {
        self.below.fill()
    }

    /// Everything can be written again.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        self.below.give_back()
    }

    /// Shows what is on the disk, and not what the kernel has in memory. No process may use it meanwhile.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        run(Command::new("umount").arg(&self.folder))?;
        self.mount_image()
    }
}

impl Drop for FailingDisk {
    /// Lazily, because a daemon may still be ending. The folder cannot be removed while something is mounted on it.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        let _ = fs::remove_dir(&self.folder);
    }
}
