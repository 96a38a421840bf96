use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// A small disk. It needs the right to mount.
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// `None`, and a line on standard error, if it cannot be mounted.
    pub(crate) fn mount(folder: &Path, megabytes: u32) -> Option<Self> {
        let size = format!("size={megabytes}m");
        Self::mount_with(folder, Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]))
    }

    /// The same in a file, with blocks that are smaller than a page of memory.
    pub(crate) fn mount_with_small_blocks(folder: &Path, megabytes: u32) -> Option<Self> {
        let image = folder.with_extension("image");
        File::create(&image).unwrap().set_len(u64::from(megabytes) << 20).unwrap();
        let made = Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-F", "-b", "1024"]).arg(&image).output();
        if !made.is_ok_and(|made| made.status.success()) {
            eprintln!("SKIPPED: no file system of ext4 can be made here");
            return None;
        }
        Self::mount_with(folder, Command::new("mount").args(["-o", "loop"]).arg(&image))
    }

    fn mount_with(folder: &Path, mount: &mut Command) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let why = match mount.arg(folder).output() {
            Ok(output) if output.status.success() => return Some(Self { folder: folder.to_owned() }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("SKIPPED: a small disk cannot be mounted here: {why}");
        None
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fills the disk to the last byte.
    pub(crate) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            let block = vec![0; size];
            let full = loop {
                if let Err(error) = file.write_all(&block) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        }
    }

    pub(crate) fn give_back(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for SmallDisk {
    /// Lazily, because the daemon may still be stopping.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
