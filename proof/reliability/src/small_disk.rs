//! A disk that is soon full.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

/// A fresh server takes a third of it.
const DISK_SIZE: &str = "size=192m,mode=0755";

/// A file system in memory. It needs the right to mount.
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    pub(crate) fn mount(folder: &Path) -> Result<Self, String> {
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", DISK_SIZE, "tmpfs"]).arg(folder).output();
        match output {
            Ok(output) if output.status.success() => Ok(Self { folder: folder.to_owned() }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes this many bytes, until they are given back.
    pub(crate) fn set_aside(&self, bytes: usize) -> anyhow::Result<()> {
        fs::write(self.filler(), vec![0; bytes]).context("cannot set space aside")
    }

    /// Whether this many bytes are free.
    pub(crate) fn has_room(&self, bytes: usize) -> anyhow::Result<bool> {
        let has_room = self.set_aside(bytes).is_ok();
        self.give_back()?;
        Ok(has_room)
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Down to the last byte.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filler())?;
        for size in [1 << 20, 1 << 12, 1] {
            let block = vec![0; size];
            loop {
                match file.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("cannot fill the disk"),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn give_back(&self) -> anyhow::Result<()> {
        fs::remove_file(self.filler()).context("cannot give space back")
    }
}

impl Drop for SmallDisk {
    /// Lazily, because the server may still be ending. The folder cannot be removed while something is mounted on it.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        let _ = fs::remove_dir(&self.folder);
    }
}
