//! What can be wrong with the spool, said once, with the path and what to do next.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// A spool that cannot be used, or that cannot take more.
#[derive(Debug, Error)]
pub(crate) enum SpoolError {
    /// It holds as much as it may.
    #[error("the spool is full: it holds {held} bytes of at most {limit}; --spool-size sets the limit")]
    Full {
        /// How much it holds, in bytes.
        held: u64,
        /// How much it may hold, in bytes.
        limit: u64,
    },
    /// Another process uses it.
    #[error("{} is in use by another analyticsd; each needs a folder of its own with --spool DIR", .0.display())]
    InUse(PathBuf),
    /// The folder cannot be made.
    #[error("cannot use the folder {} for the spool: {error}; give it another one with --spool DIR", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What the file holds is not what was written to it.
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
    /// Reading failed, or writing before anything was to be kept: nothing was added.
    #[error("cannot use the spool's file {}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: Box<redb::Error>,
    },
    /// Writing failed at its last step, so that what was to be added may be there or not.
    #[error("cannot tell whether the spool's file {} took what was written: {error}", .path.display())]
    Undecided {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: Box<redb::Error>,
    },
}

/// A failure of the file, whose path is known further up.
#[derive(Debug)]
pub(super) enum FileError {
    /// Nothing was changed.
    Failed(redb::Error),
    /// The last step of a change failed, which may be there or not.
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
            // So redb calls a file of another kind, and one that ends too early.
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
