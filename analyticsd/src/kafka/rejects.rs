//! Keeps messages that can never be stored, before the position moves behind them. After a crash one may be kept twice.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{StreamExt, TryStreamExt, stream};
use rdkafka::{
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use serde::Serialize;
use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};

use super::{
    KafkaConfig, RejectsTo, consumer,
    message::{CUT_TO, Message},
};
use crate::process::private_files;

/// The file's name in its folder.
const FILE: &str = "rejected.ndjson";
/// The most bytes that the file may have. A topic of something else must not fill the disk.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// The most messages that are on their way to the dead-letter topic.
const MAX_SENDING: usize = 500;

/// A message that can never be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected<'a> {
    pub(super) message: &'a Message,
    pub(super) reason: String,
}

pub(super) struct Rejects {
    topic: String,
    place: Place,
}

enum Place {
    File(PathBuf),
    Topic { producer: FutureProducer, name: String },
}

#[derive(Debug, Error)]
pub(super) enum NotKept {
    #[error("{} cannot be written: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{} has {MAX_FILE_BYTES} bytes, which is the most; move it away", .0.display())]
    Full(PathBuf),
    #[error("the dead-letter topic does not take it: {0}")]
    Topic(#[from] KafkaError),
    #[error(transparent)]
    Failed(#[from] JoinError),
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

impl Rejects {
    pub(super) fn new(config: &KafkaConfig) -> anyhow::Result<Self> {
        let place = match &config.rejects {
            RejectsTo::Folder(folder) => {
                private_files::make_folder(folder)?;
                Place::File(folder.join(FILE))
            }
            RejectsTo::Topic(name) => Place::Topic { producer: consumer::producer(config)?, name: name.clone() },
        };
        Ok(Self { topic: config.address.topic.clone(), place })
    }

    /// Returns once they are kept durably.
    pub(super) async fn keep(&self, partition: i32, rejected: &[Rejected<'_>]) -> Result<(), NotKept> {
        match &self.place {
            Place::File(path) => {
                let lines = self.lines(partition, rejected);
                let path = path.clone();
                spawn_blocking(move || append(path, &lines)).await?
            }
            Place::Topic { producer, name } => {
                let mut sending = Vec::new();
                for Rejected { message, reason } in rejected {
                    sending.push(self.send(producer, name, partition, message, reason));
                }
                stream::iter(sending).buffered(MAX_SENDING).try_collect::<()>().await?;
                Ok(())
            }
        }
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

    /// Key and value as they came, and in headers from where and why. Of what the topic does not take as a whole, the beginning.
    async fn send(
        &self,
        producer: &FutureProducer,
        name: &str,
        partition: i32,
        message: &Message,
        reason: &str,
    ) -> KafkaResult<()> {
        let payload = message.payload.as_deref();
        let bytes = message.cut.as_ref().map(|cut| cut.bytes);
        match self.send_value(producer, name, partition, message, reason, (payload, bytes)).await {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {
                let whole = payload.map_or(0, <[u8]>::len);
                let beginning = (payload.map(|payload| &payload[..whole.min(CUT_TO)]), bytes.or(Some(whole)));
                self.send_value(producer, name, partition, message, reason, beginning).await
            }
            sent => sent,
        }
    }

    async fn send_value(
        &self,
        producer: &FutureProducer,
        name: &str,
        partition: i32,
        message: &Message,
        reason: &str,
        (payload, cut_from): (Option<&[u8]>, Option<usize>),
    ) -> KafkaResult<()> {
        let (partition, offset) = (partition.to_string(), message.offset.to_string());
        let cut_from = cut_from.map(|bytes| bytes.to_string());
        let headers = [
            ("topic", Some(&*self.topic)),
            ("partition", Some(&*partition)),
            ("offset", Some(&*offset)),
            ("reason", Some(reason)),
            ("cut-from", cut_from.as_deref()),
        ];
        let headers = headers.into_iter().filter(|(_, value)| value.is_some());
        let headers = headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key: &format!("analyticsd-{key}"), value })
        });
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(name).headers(headers);
        record.key = message.key.as_deref();
        record.payload = payload;
        producer.send(record, Duration::from_secs(5)).await.map(drop).map_err(|(error, _)| error)
    }
}

fn append(path: PathBuf, lines: &[u8]) -> Result<(), NotKept> {
    match write_lines(&path, lines) {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotKept::Full(path)),
        Err(error) => Err(NotKept::File { path, error }),
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
    if length + lines.len() as u64 > MAX_FILE_BYTES {
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
