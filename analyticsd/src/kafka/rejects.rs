//! Keeps messages that can never be stored, before the position moves behind them. After a crash one may be kept twice.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use serde::Serialize;
use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};

use super::{KafkaConfig, RejectsTo, consumer, message::Message};
use crate::process::private_files;

/// The file's name in its folder.
const FILE: &str = "rejected.ndjson";
/// The most bytes that the file may have. A topic of something else must not fill the disk.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A message that can never be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) message: Message,
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
    Topic(#[from] rdkafka::error::KafkaError),
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
    pub(super) async fn keep(&self, partition: i32, rejected: &[Rejected]) -> Result<(), NotKept> {
        match &self.place {
            Place::File(path) => {
                let lines = self.lines(partition, rejected);
                let path = path.clone();
                spawn_blocking(move || append(path, &lines)).await?
            }
            Place::Topic { producer, name } => {
                for Rejected { message, reason } in rejected {
                    self.send(producer, name, partition, message, reason).await?;
                }
                Ok(())
            }
        }
    }

    fn lines(&self, partition: i32, rejected: &[Rejected]) -> Vec<u8> {
        let mut lines = Vec::new();
        for Rejected { message, reason } in rejected {
            let payload = message.payload.as_deref().unwrap_or_default();
            let value = match str::from_utf8(payload) {
                Ok(text) => Value::Text(text),
                Err(_) => Value::Bytes(STANDARD.encode(payload)),
            };
            let line = Line { topic: &self.topic, partition, offset: message.offset, reason, value };
            serde_json::to_writer(&mut lines, &line).expect("texts and numbers are written to memory");
            lines.push(b'\n');
        }
        lines
    }

    /// The message as it came, and in its headers from where and why.
    async fn send(
        &self,
        producer: &FutureProducer,
        name: &str,
        partition: i32,
        message: &Message,
        reason: &str,
    ) -> Result<(), rdkafka::error::KafkaError> {
        let (partition, offset) = (partition.to_string(), message.offset.to_string());
        let headers = [("topic", &*self.topic), ("partition", &*partition), ("offset", &*offset), ("reason", reason)];
        let headers = headers.into_iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key: &format!("analyticsd-{key}"), value: Some(value) })
        });
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(name).headers(headers);
        record.key = message.key.as_deref();
        record.payload = message.payload.as_deref();
        producer.send(record, Duration::from_secs(5)).await.map(drop).map_err(|(error, _)| error)
    }
}

fn append(path: PathBuf, lines: &[u8]) -> Result<(), NotKept> {
    let write = || {
        let mut file = private_files::open(File::options().append(true), &path)?;
        if file.metadata()?.len() + lines.len() as u64 > MAX_FILE_BYTES {
            return Ok(false);
        }
        file.write_all(lines)?;
        file.sync_all()?;
        Ok(true)
    };
    match write() {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotKept::Full(path)),
        Err(error) => Err(NotKept::File { path, error }),
    }
}
