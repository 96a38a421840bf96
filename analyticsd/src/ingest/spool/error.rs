//! The errors of the spool. Each names the path and the next step.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// The spool cannot be used, or is full.
#[derive(Debug, Error)]
pub(crate) enum SpoolError {
    #[error("the spool is full: it holds {held} bytes of at most {limit}; --spool-size sets the limit")]
    Full {
        /// Bytes in the spool.
        held: u64,
        /// The most bytes that it may hold.
        limit: u64,
    },
    /// Another process uses it.
    #[error("{} is in use by another analyticsd; each needs a folder of its own with --spool DIR", .0.display())]
    InUse(PathBuf),
    /// It was made for another number of shards.
    #[error(
        "the spool in {} is for {found} databases, and the settings name {named}; name all databases of the counter, or give it another folder \
         with --spool DIR",
        .path.display()
    )]
    OtherShards {
        /// The folder.
        path: PathBuf,
        /// How many databases it is for.
        found: String,
        /// How many are named.
        named: usize,
    },
    /// The folder cannot be created.
    #[error("cannot use the folder {} for the spool: {error}; give it another one with --spool DIR", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The file's content is not what was written.
    #[error(
        "the spool's file {} is damaged: {reason}; move it aside and keep it, since it may hold events that are not stored yet, \
         then start analyticsd again",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading failed, or writing failed before the commit. Nothing was added.
    #[error("cannot use the spool's file {}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: Box<redb::Error>,
    },
    /// The commit failed, so the new records may be in the file or not.
    #[error("cannot tell whether the last write to the spool's file {} succeeded: {error}", .path.display())]
    Undecided {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: Box<redb::Error>,
    },
}

/// An error of the file. The caller adds the path.
#[derive(Debug)]
pub(super) enum FileError {
    /// Nothing was changed.
    Failed(redb::Error),
    /// The commit failed, so the change may be in the file or not.
    Undecided(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for FileError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl FileError {
    pub(super) fn damaged(reason: impl Into<String>) -> Self {
        Self::Failed(redb::Error::Corrupted(reason.into()))
    }

    pub(super) fn of_file(self, path: &Path) -> SpoolError {
        let path = path.to_owned();
        match self {
            Self::Failed(redb::Error::DatabaseAlreadyOpen) => SpoolError::InUse(path),
            Self::Failed(redb::Error::Corrupted(reason)) => SpoolError::Damaged { path, reason },
            // redb returns these for a file of another format, and for one that ends too early.
            Self::Failed(redb::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                SpoolError::Damaged { path, reason: error.to_string() }
            }
            Self::Failed(error) => SpoolError::File { path, error: Box::new(error) },
            Self::Undecided(error) => SpoolError::Undecided { path, error: Box::new(error) },
        }
    }
}
