//! Keeps messages that can never be stored, before the position moves behind them. After a stop or a crash one may be kept twice.

use std::{io, path::PathBuf};

use rdkafka::error::KafkaError;
use thiserror::Error;
use tokio::task::JoinError;

use super::{KafkaConfig, RejectsTo, dead_letters::DeadLetters, message::Message, rejected_file::RejectedFile};

/// A message that can never be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected<'a> {
    pub(super) message: &'a Message,
    pub(super) reason: String,
}

pub(super) enum Rejects {
    File(RejectedFile),
    Topic(DeadLetters),
}

#[derive(Debug, Error)]
pub(super) enum NotKept {
    #[error("{} cannot be written: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{} has {} bytes, which is the most; move it away", .0.display(), RejectedFile::MAX_BYTES)]
    Full(PathBuf),
    #[error("the dead-letter topic does not take it: {0}")]
    Topic(#[from] KafkaError),
    #[error(transparent)]
    Failed(#[from] JoinError),
}

impl Rejects {
    pub(super) fn new(config: &KafkaConfig) -> anyhow::Result<Self> {
        Ok(match &config.rejects {
            RejectsTo::Folder(folder) => Self::File(RejectedFile::in_folder(folder, &config.address.topic)?),
            RejectsTo::Topic(name) => Self::Topic(DeadLetters::new(name, config)?),
        })
    }

    /// Returns once they are kept durably.
    pub(super) async fn keep(&self, partition: i32, rejected: &[Rejected<'_>]) -> Result<(), NotKept> {
        match self {
            Self::File(file) => file.keep(partition, rejected).await,
            Self::Topic(topic) => Ok(topic.keep(partition, rejected).await?),
        }
    }
}
