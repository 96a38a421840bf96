//! Spooled requests that can never be stored. They are written to a file beside the spool, for people to look at.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use model::Submission;

use super::record;
use crate::process::private_files;

/// The file's name in the spool's folder.
const FILE: &str = "rejected.ndjson";

pub(crate) struct Rejects {
    path: PathBuf,
}

impl Rejects {
    pub(crate) fn in_folder(dir: &Path) -> Self {
        Self { path: dir.join(FILE) }
    }

    /// Appends requests durably. After a crash the same requests may be in the file twice.
    pub(crate) fn add(&self, submissions: &[Submission]) -> io::Result<()> {
        let mut file = private_files::open(File::options().append(true), &self.path)?;
        for submission in submissions {
            file.write_all(&record::encode(submission))?;
        }
        file.sync_all()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
