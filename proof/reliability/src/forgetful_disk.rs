//! A disk that can lose its power.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// A fresh server takes a tenth of it.
const SIZE: u64 = 512 << 20;
const PATIENCE: Duration = Duration::from_mins(1);
/// `EXT4_IOC_SHUTDOWN` without a flush of the journal: from then on every write fails, and what was not synced is gone.
const SHUT_DOWN: &str = "open(my $folder, '<', $ARGV[0]) or die $!; my $without_flush = pack('I', 2); \
                         ioctl($folder, 0x8004587d, $without_flush) or die $!";

/// A file system in a file, mounted on a folder. It needs the right to mount.
pub(crate) struct ForgetfulDisk {
    folder: PathBuf,
    image: PathBuf,
    _dir: TempDir,
}

impl ForgetfulDisk {
    /// An error says why there is none here.
    pub(crate) fn mount(folder: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("image");
        File::create(&image)?.set_len(SIZE)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let disk = Self { folder: folder.to_owned(), image, _dir: dir };
        disk.mount_image()?;
        Ok(disk)
    }

    fn mount_image(&self) -> anyhow::Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.folder))
    }

    /// Every write fails from now on.
    pub(crate) fn lose_power(&self) -> anyhow::Result<()> {
        run(Command::new("perl").args(["-e", SHUT_DOWN]).arg(&self.folder))
    }

    /// As it is after the power is back. Nobody may use it meanwhile.
    pub(crate) fn regain_power(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        // The last processes may still be ending.
        while let Err(error) = run(Command::new("umount").arg(&self.folder)) {
            ensure!(began.elapsed() < PATIENCE, "{error:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.mount_image()
    }
}

impl Drop for ForgetfulDisk {
    /// Lazily, because a server may still be ending. The folder cannot be removed while something is mounted on it.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        let _ = std::fs::remove_dir(&self.folder);
    }
}

pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
