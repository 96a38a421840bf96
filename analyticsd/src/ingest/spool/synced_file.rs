//! Opens a file of which all that is read is on the disk.

use std::{
    fs::{File, TryLockError, remove_file, rename},
    io,
    os::unix::fs::{FileExt, MetadataExt, fchown},
    path::Path,
};

use super::error::FileError;
use crate::process::private_files;

/// How much of the file is read at a time to be copied.
const BLOCK: usize = 1 << 20;
/// The pages of redb, and of most file systems.
const PAGE: usize = 4096;

/// Opens the file for this process alone. One that is not there is made.
pub(super) fn open(path: &Path) -> Result<File, FileError> {
    let file = private_files::open(File::options().read(true).write(true).truncate(false), path)?;
    lock(&file, path)?;
    renewed(file, path)
}

/// Keeps other daemons from the file, before anything is written. redb takes the same lock.
fn lock(file: &File, path: &Path) -> Result<(), FileError> {
    let in_use = || FileError::Failed(redb::Error::DatabaseAlreadyOpen);
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => in_use(),
        TryLockError::Error(error) => error.into(),
    })?;
    let (held, named) = (file.metadata()?, path.metadata()?);
    // Another daemon may have put a copy in its place since it was opened.
    if (held.dev(), held.ino()) == (named.dev(), named.ino()) { Ok(()) } else { Err(in_use()) }
}

/// A copy of the file in its place, which is on the disk. After a sync that failed, the kernel goes on to show what it
/// could not write, and no later sync of that file brings it to the disk: ext4 does not even if it is written again. The
/// sync may have failed in an earlier process, so nobody can know whether the copy is needed. Where there is no room for
/// it, the file itself is written again, since a full disk must stop neither replay nor start.
fn renewed(file: File, path: &Path) -> Result<File, FileError> {
    if file.metadata()?.len() == 0 {
        return Ok(file);
    }
    // The file may be behind a link, which has to stay, and on another disk.
    let path = path.canonicalize()?;
    let beside = path.with_extension("redb.new");
    let copied = copied(&file, &beside).and_then(|new| rename(&beside, &path).map(|()| new));
    match copied {
        Ok(new) => Ok(new),
        Err(error) => {
            let _ = remove_file(&beside);
            if !is_full(&error) {
                return Err(error.into());
            }
            write_again(&file)?;
            Ok(file)
        }
    }
}

/// The copy, locked and synced. Only a file system without room is an error for which [`is_full`].
fn copied(file: &File, to: &Path) -> io::Result<File> {
    let new = private_files::open(File::options().read(true).write(true).truncate(true), to)?;
    new.try_lock()?;
    keep_owner(file, &new)?;
    new.set_len(file.metadata()?.len())?;
    for_each_page(file, |page, at| new.write_all_at(page, at))?;
    // A disk may say so too, when it fails.
    new.sync_all().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(new)
}

/// Root may have started this daemon, and must not take the file from the one that runs otherwise.
fn keep_owner(of: &File, new: &File) -> io::Result<()> {
    let (owner, made) = (of.metadata()?, new.metadata()?);
    if (owner.uid(), owner.gid()) == (made.uid(), made.gid()) {
        return Ok(());
    }
    match fchown(new, Some(owner.uid()), Some(owner.gid())) {
        // Only root may give a file away.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// Even that may need room: for a block that is a hole, where blocks are smaller than a page, or for every block, where
/// the file system never writes one in its place. Such a page stays as it is.
fn write_again(file: &File) -> io::Result<()> {
    for_each_page(file, |page, at| match file.write_all_at(page, at) {
        Err(error) if is_full(&error) => Ok(()),
        done => done,
    })?;
    file.sync_all()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Empty pages are left out: redb never empties one, and there may be no room for them.
fn for_each_page(file: &File, mut write: impl FnMut(&[u8], u64) -> io::Result<()>) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        let length = file.read_at(&mut block, at)?;
        if length == 0 {
            return Ok(());
        }
        for (page, at) in block[..length].chunks(PAGE).zip((at..).step_by(PAGE)) {
            if page.iter().any(|&byte| byte != 0) {
                write(page, at)?;
            }
        }
        at += length as u64;
    }
}
