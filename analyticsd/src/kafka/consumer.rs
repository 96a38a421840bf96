//! The client of Kafka: what of it this daemon uses, and what it tells the daemon.

use std::{thread, time::Duration};

use anyhow::anyhow;
use rdkafka::{
    ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList,
    config::{FromClientConfig, FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer},
    error::{KafkaError, KafkaResult},
    producer::FutureProducer,
};
use tokio::sync::{mpsc, oneshot};

use super::{KafkaConfig, message::Message};

/// How long the brokers may take to answer a question.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the client tells besides messages, in its order.
#[derive(Debug)]
pub(super) enum Change {
    /// The group gave these partitions to this daemon.
    Assigned(Vec<i32>),
    /// The group took them.
    Revoked(Vec<i32>),
    /// What the brokers have of partitions, once a second.
    Bounds(Vec<(i32, Bounds)>),
}

/// What the brokers have of a partition, as offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Of the first message; 0 if that is not known.
    pub(super) first: u64,
    /// Behind the last message of a transaction that is over.
    pub(super) end: u64,
    /// The end that was read to last.
    pub(super) read_to: Option<u64>,
}

/// What one look at the consumer gave.
pub(super) enum Polled {
    Message {
        partition: i32,
        message: Message,
    },
    /// Every message of a partition was received, for the moment.
    End,
    /// The client goes on by itself.
    Trouble(KafkaError),
    /// The client never goes on.
    Fatal(KafkaError),
}

/// A member of the consumer group. It leaves the group when it is dropped.
pub(super) struct TopicConsumer {
    topic: String,
    /// None once it is dropped.
    client: Option<StreamConsumer<Context>>,
    /// Tells that the group is left.
    left: Option<oneshot::Sender<()>>,
}

/// What the other side of a consumer says.
pub(super) struct Told {
    pub(super) changes: mpsc::UnboundedReceiver<Change>,
    /// Resolves once the group is left.
    pub(super) left: oneshot::Receiver<()>,
}

struct Context {
    topic: String,
    tell: mpsc::UnboundedSender<Change>,
}

impl TopicConsumer {
    /// Joins the group. Whether the brokers answer is not known yet.
    pub(super) fn start(config: &KafkaConfig) -> anyhow::Result<(Self, Told)> {
        let (tell, changes) = mpsc::unbounded_channel();
        let (left, has_left) = oneshot::channel();
        let topic = config.address.topic.clone();
        let mut settings = client_config(config);
        settings
            .set("group.id", &config.group)
            // Positions are in the database. What is committed to the group is for those who look at it.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // So that the statistics tell which end was read to.
            .set("enable.partition.eof", "true")
            .set("statistics.interval.ms", "1000");
        let context = Context { topic: topic.clone(), tell };
        let client =
            StreamConsumer::from_config_and_context(&settings, context).map_err(|error| without_value(&error))?;
        client.subscribe(&[&topic])?;
        Ok((Self { topic, client: Some(client), left: Some(left) }, Told { changes, left: has_left }))
    }

    fn client(&self) -> &StreamConsumer<Context> {
        self.client.as_ref().expect("it is taken only when this is dropped")
    }

    pub(super) async fn next(&self) -> Polled {
        match self.client().recv().await {
            Ok(message) => {
                Polled::Message { partition: rdkafka::Message::partition(&message), message: Message::of(&message) }
            }
            Err(KafkaError::PartitionEOF(_)) => Polled::End,
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => Polled::Fatal(error),
            Err(error) if self.client().client().fatal_error().is_some() => Polled::Fatal(error),
            Err(error) => Polled::Trouble(error),
        }
    }

    /// The cluster's name of itself. Blocks.
    pub(super) fn cluster(&self) -> Option<String> {
        self.client().client().fetch_cluster_id(PATIENCE).filter(|id| !id.is_empty())
    }

    /// The offset of the first message that the brokers have of a partition. Blocks.
    pub(super) fn first(&self, partition: i32) -> KafkaResult<u64> {
        let (first, _) = self.client().fetch_watermarks(&self.topic, partition, PATIENCE)?;
        Ok(u64::try_from(first).unwrap_or_default())
    }

    /// Messages come from this offset on. Once this returns, none comes that was fetched before. Blocks.
    pub(super) fn seek(&self, partition: i32, offset: u64) -> KafkaResult<()> {
        self.client().seek(&self.topic, partition, offset_of(offset), PATIENCE)
    }

    pub(super) fn pause(&self, partition: i32) -> KafkaResult<()> {
        self.client().pause(&self.list([partition]))
    }

    pub(super) fn resume(&self, partition: i32) -> KafkaResult<()> {
        self.client().resume(&self.list([partition]))
    }

    /// Tells the group where its partitions stand, for tools that show it. Failures do not matter.
    pub(super) fn tell_group(&self, positions: impl IntoIterator<Item = (i32, u64)>) {
        let mut list = TopicPartitionList::new();
        for (partition, position) in positions {
            let _ = list.add_partition_offset(&self.topic, partition, offset_of(position));
        }
        if list.count() > 0
            && let Err(error) = self.client().commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "the consumer group does not take the offsets");
        }
    }

    fn list(&self, partitions: impl IntoIterator<Item = i32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }
}

impl Drop for TopicConsumer {
    /// To leave the group takes as long as the brokers take to answer. The end of the process does not wait for a thread of its own.
    fn drop(&mut self) {
        let (client, left) = (self.client.take(), self.left.take());
        let leaving = thread::Builder::new().name("leave".to_owned()).spawn(move || {
            drop(client);
            left.map(|left| left.send(()))
        });
        if let Err(error) = leaving {
            tracing::warn!(%error, "the consumer group is not left in order");
        }
    }
}

fn offset_of(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

/// What sends to another topic of the same cluster.
pub(super) fn producer(config: &KafkaConfig) -> anyhow::Result<FutureProducer> {
    let mut settings = client_config(config);
    // How large a message may be, the topic alone says.
    settings.set("message.max.bytes", "1000000000");
    settings.set("enable.idempotence", "true").set("message.timeout.ms", "30000");
    FutureProducer::from_config(&settings).map_err(|error| without_value(&error))
}

fn client_config(config: &KafkaConfig) -> ClientConfig {
    let mut settings = ClientConfig::new();
    // At most so many KiB wait within the client, for all partitions together.
    settings.set("queued.max.messages.kbytes", "16384").set("client.id", "analyticsd");
    // A topic or a partition that is made later is found within this time.
    settings.set("topic.metadata.refresh.interval.ms", "30000");
    for (name, value) in config.client.iter() {
        settings.set(name, value);
    }
    settings.set("bootstrap.servers", &config.address.brokers);
    settings
}

/// The error of a setting names it, and not its value, which may be a secret.
fn without_value(error: &KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientConfig(_, fault, name, value) => {
            let fault = if value.is_empty() { fault.clone() } else { fault.replace(value, "…") };
            anyhow!("the client of Kafka does not take the setting {name} of --kafka-config-file: {fault}")
        }
        error => anyhow!("the client of Kafka cannot be made with the settings of --kafka-config-file: {error}"),
    }
}

impl Context {
    fn tell(&self, change: Change) {
        // Nobody listens any more when the daemon stops.
        let _ = self.tell.send(change);
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<i32> {
        list.elements_for_topic(&self.topic)
            .iter()
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
            .collect()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                tracing::warn!(facility, "the client of Kafka: {message}");
            }
            _ => tracing::debug!(facility, "the client of Kafka: {message}"),
        }
    }

    /// Errors that concern the daemon come where it asks for messages.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the client of Kafka has an error");
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let known = topic.partitions.values().filter_map(|partition| {
            let [first, end, read_to] =
                [partition.lo_offset, partition.ls_offset, partition.eof_offset].map(u64::try_from);
            Some((
                partition.partition,
                Bounds { first: first.unwrap_or_default(), end: end.ok()?, read_to: read_to.ok() },
            ))
        });
        self.tell(Change::Bounds(known.collect()));
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            self.tell(Change::Revoked(self.partitions(list)));
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.tell(Change::Assigned(self.partitions(list))),
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(%error, "the partitions of the topic could not be shared out"),
        }
    }
}
