//! A disk that fails to write, and forgets what it could not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::{forgetful_disk::run, small_disk::SmallDisk};

const SIZE: usize = 96 << 20;
const BLOCK: u64 = 4096;

/// A file system in a file on another disk, with holes where its free blocks are. Once that disk is full, the holes cannot
/// be filled: to write there fails at the next sync, and the kernel forgets, without another word, that those pages were
/// to be written. What the file system notes for itself lies elsewhere, in its journal at first. It needs the right to
/// mount.
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
        fs::write(&image, vec![0; SIZE])?;
        let lazy = ["-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"];
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-b", &BLOCK.to_string()]).args(lazy).arg(&image))?;
        for (first, last) in free_blocks(&image)? {
            let (offset, length) = ((first * BLOCK).to_string(), ((last - first + 1) * BLOCK).to_string());
            let hole = ["--punch-hole", "--offset", &offset, "--length", &length];
            run(Command::new("fallocate").args(hole).arg(&image))?;
        }
        let disk = Self { folder: folder.to_owned(), image, below, _dir: dir };
        disk.mount_image()?;
        Ok(disk)
    }

    fn mount_image(&self) -> anyhow::Result<()> {
        run(Command::new("mount").args(["-o", "loop,noinit_itable"]).arg(&self.image).arg(&self.folder))
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

/// The first and last ones of each row of them.
fn free_blocks(image: &Path) -> anyhow::Result<Vec<(u64, u64)>> {
    let output = Command::new("dumpe2fs").arg(image).output().context("dumpe2fs cannot be run")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = listed.lines().filter_map(|line| line.strip_prefix("  Free blocks: ")).flat_map(|rows| rows.split(", "));
    let rows: Vec<_> = rows
        .filter_map(|row| {
            let (first, last) = row.split_once('-').unwrap_or((row, row));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect();
    ensure!(!rows.is_empty(), "dumpe2fs lists no free blocks: {listed}");
    Ok(rows)
}

impl Drop for FailingDisk {
    /// Lazily, because a daemon may still be ending. The folder cannot be removed while something is mounted on it.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        let _ = fs::remove_dir(&self.folder);
    }
}
