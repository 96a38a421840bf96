//! Reads events from a topic of Apache Kafka, so that each message counts once. Each partition is a source, whose position in the
//! database moves in the transaction of its events; what the consumer group knows of offsets is never believed.
//!
//! `reading` is the loop: it hands messages of the `consumer` to their `partition`, which collects them while an earlier batch
//! of it is stored (`storing`). `beginning` asks where a partition stands; `rejects` keeps what cannot be stored.

mod config;

#[cfg(feature = "kafka")]
mod beginning;
#[cfg(feature = "kafka")]
mod consumer;
#[cfg(feature = "kafka")]
mod dead_letters;
#[cfg(feature = "kafka")]
mod message;
#[cfg(feature = "kafka")]
mod partition;
#[cfg(feature = "kafka")]
mod reading;
#[cfg(feature = "kafka")]
mod rejected_file;
#[cfg(feature = "kafka")]
mod rejects;
#[cfg(feature = "kafka")]
mod storing;

pub(crate) use config::{ClientSettings, KafkaConfig, RejectsTo, TopicAddress, check_topic};

#[cfg(feature = "kafka")]
pub(crate) use {reading::start, storing::StoringServices};
