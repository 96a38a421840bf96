use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// Where events are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Stdin,
    File {
        path: PathBuf,
        /// Its length; none for a pipe and the like.
        bytes: Option<u64>,
    },
}

impl Input {
    /// A log that is followed. It may begin to be there later.
    pub(crate) fn to_follow(path: PathBuf) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdin);
        }
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::File { path, bytes: Some(0) }),
            Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => Err(Failure::CannotRun(format!(
                "--follow reads files as they grow, and {} is none; what a pipe brings is sent as it comes without it",
                path.display()
            ))),
            _ => Self::find(path),
        }
    }

    /// Checks that a file can be read, so that an import does not stop halfway because of a mistyped name.
    pub(crate) fn find(path: PathBuf) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdin);
        }
        let fault = |error: &dyn std::fmt::Display| {
            Failure::CannotRun(format!("cannot read {}: {error}; nothing was imported", path.display()))
        };
        let metadata = fs::metadata(&path).map_err(|error| fault(&error))?;
        if metadata.is_dir() {
            return Err(fault(&"it is a directory"));
        }
        // A pipe can be opened only once, so only files are tried.
        let bytes = metadata.is_file().then_some(metadata.len());
        if bytes.is_some() {
            File::open(&path).map_err(|error| fault(&error))?;
        }
        Ok(Self::File { path, bytes })
    }

    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::File { path, .. } => Box::new(File::open(path)?),
        })
    }

    /// Whether this is the file at a path, also under another name.
    pub(crate) fn is_at(&self, other: &Path) -> bool {
        let identity = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        match self {
            Self::Stdin => false,
            Self::File { path, .. } => identity(path).is_some_and(|file| identity(other) == Some(file)),
        }
    }

    pub(crate) fn bytes(&self) -> Option<u64> {
        match self {
            Self::Stdin => None,
            Self::File { bytes, .. } => *bytes,
        }
    }

    /// Whether it can be opened again from its beginning.
    pub(crate) fn is_file(&self) -> bool {
        self.bytes().is_some()
    }

    /// The path of a file, whichever way leads to it.
    pub(crate) fn place(&self) -> Option<PathBuf> {
        match self {
            Self::File { path, bytes: Some(_) } => fs::canonicalize(path).ok(),
            Self::File { .. } | Self::Stdin => None,
        }
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }
}
