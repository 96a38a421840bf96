//! Another topic of the same cluster, for messages that can never be stored.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use rdkafka::{
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};

use super::{KafkaConfig, consumer, message::CUT_TO, rejects::Rejected};

/// The most messages that are on their way.
const MAX_SENDING: usize = 500;
/// How long a message waits for room in the client.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct DeadLetters {
    producer: FutureProducer,
    name: String,
    /// Where the messages come from.
    topic: String,
}

impl DeadLetters {
    pub(super) fn new(name: &str, config: &KafkaConfig) -> anyhow::Result<Self> {
        let topic = config.address.topic.clone();
        Ok(Self { producer: consumer::producer(config)?, name: name.to_owned(), topic })
    }

    /// Returns once the brokers have all of them.
    pub(super) async fn keep(&self, partition: i32, rejected: &[Rejected<'_>]) -> KafkaResult<()> {
        let mut sending = Vec::new();
        for rejected in rejected {
            sending.push(self.send(partition, rejected));
        }
        stream::iter(sending).buffered(MAX_SENDING).try_collect().await
    }

    /// Sends key and value as they came. Of a value that the topic does not take, the beginning.
    async fn send(&self, partition: i32, rejected: &Rejected<'_>) -> KafkaResult<()> {
        let payload = rejected.message.payload.as_deref();
        let bytes = rejected.message.cut.as_ref().map(|cut| cut.bytes);
        match self.send_value(partition, rejected, payload, bytes).await {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {
                let whole = payload.map_or(0, <[u8]>::len);
                let beginning = payload.map(|payload| &payload[..whole.min(CUT_TO)]);
                self.send_value(partition, rejected, beginning, bytes.or(Some(whole))).await
            }
            sent => sent,
        }
    }

    /// Headers say from where the message comes, why, and how many bytes its value had if this is only the beginning.
    async fn send_value(
        &self,
        partition: i32,
        Rejected { message, reason }: &Rejected<'_>,
        payload: Option<&[u8]>,
        cut_from: Option<usize>,
    ) -> KafkaResult<()> {
        let (partition, offset) = (partition.to_string(), message.offset.to_string());
        let cut_from = cut_from.map(|bytes| bytes.to_string());
        let headers = [
            ("topic", Some(&*self.topic)),
            ("partition", Some(&*partition)),
            ("offset", Some(&*offset)),
            ("reason", Some(&**reason)),
            ("cut-from", cut_from.as_deref()),
        ];
        let headers = headers.into_iter().filter(|(_, value)| value.is_some());
        let headers = headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key: &format!("analyticsd-{key}"), value })
        });
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.name).headers(headers);
        record.key = message.key.as_deref();
        record.payload = payload;
        self.producer.send(record, ROOM_PATIENCE).await.map(drop).map_err(|(error, _)| error)
    }
}
