//! The file of messages that can never be stored.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::rejects::{NotKept, Rejected};
use crate::process::private_files;

/// The file's name in its folder.
const FILE: &str = "rejected.ndjson";

pub(super) struct RejectedFile {
    topic: String,
    /// Partitions write one after the other, so that what fails is taken back alone.
    path: Arc<Mutex<PathBuf>>,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: u64,
    reason: &'a str,
    /// How many bytes there were, if the value is only their beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_from: Option<usize>,
    #[serde(flatten)]
    value: Value<'a>,
}

#[derive(Serialize)]
enum Value<'a> {
    #[serde(rename = "value")]
    Text(&'a str),
    /// What is no UTF-8.
    #[serde(rename = "value_base64")]
    Bytes(String),
}

impl RejectedFile {
    /// The most bytes that it may have. A topic of something else must not fill the disk.
    pub(super) const MAX_BYTES: u64 = 1 << 30;

    /// Makes the folder if it is not there.
    pub(super) fn in_folder(folder: &Path, topic: &str) -> io::Result<Self> {
        private_files::make_folder(folder)?;
        Ok(Self { topic: topic.to_owned(), path: Arc::new(Mutex::new(folder.join(FILE))) })
    }

    pub(super) async fn keep(&self, partition: i32, rejected: &[Rejected<'_>]) -> Result<(), NotKept> {
        let lines = self.lines(partition, rejected);
        let path = Arc::clone(&self.path);
        spawn_blocking(move || {
            let path = path.lock().unwrap_or_else(PoisonError::into_inner);
            match write_lines(&path, &lines) {
                Ok(true) => Ok(()),
                Ok(false) => Err(NotKept::Full(path.clone())),
                Err(error) => Err(NotKept::File { path: path.clone(), error }),
            }
        })
        .await?
    }

    fn lines(&self, partition: i32, rejected: &[Rejected<'_>]) -> Vec<u8> {
        let mut lines = Vec::new();
        for Rejected { message, reason } in rejected {
            let payload = message.payload.as_deref().unwrap_or_default();
            let value = match str::from_utf8(payload) {
                Ok(text) => Value::Text(text),
                Err(_) => Value::Bytes(STANDARD.encode(payload)),
            };
            let cut_from = message.cut.as_ref().map(|cut| cut.bytes);
            let line = Line { topic: &self.topic, partition, offset: message.offset, reason, cut_from, value };
            serde_json::to_writer(&mut lines, &line).expect("texts and numbers are written to memory");
            lines.push(b'\n');
        }
        lines
    }
}

/// Appends whole lines or nothing. Returns whether there is room for them.
fn write_lines(path: &Path, lines: &[u8]) -> io::Result<bool> {
    let found = path.metadata();
    // To open a pipe would wait for its reader.
    if found.as_ref().is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is not a file"));
    }
    let mut file = private_files::open(File::options().append(true).read(true), path)?;
    let length = file.metadata()?.len();
    if length + lines.len() as u64 > RejectedFile::MAX_BYTES {
        return Ok(false);
    }
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    // A crash may have left half a line.
    let ended = if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") };
    let written = ended.and_then(|()| file.write_all(lines)).and_then(|()| file.sync_all());
    if written.is_err() {
        file.set_len(length)?;
    }
    written?;
    if found.is_err()
        && let Some(folder) = path.parent()
    {
        // The name of a new file is not synced with its content.
        File::open(folder)?.sync_all()?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::write_lines;

    #[test]
    fn half_a_line_that_a_crash_left_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rejected.ndjson");
        assert!(write_lines(&file, b"1\n").unwrap());
        fs::write(&file, "1\n{\"half").unwrap();
        assert!(write_lines(&file, b"2\n3\n").unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1\n{\"half\n2\n3\n");
    }

    #[test]
    fn what_is_no_file_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write_lines(folder.path(), b"1\n").unwrap_err().to_string(), "it is not a file");
    }
}
