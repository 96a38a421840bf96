//! A broker that speaks the protocol of Apache Kafka, and topics of its own for each test.
//!
//! `TEST_KAFKA` names an Apache Kafka: one that runs already, as HOST:PORT, or the folder of a distribution, with a `/` in
//! it, from which every test starts a broker of its own (with `java`). Without it every test starts tansu, which keeps all
//! in memory.

mod broker;

use std::{
    collections::VecDeque,
    env, fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfig,
    consumer::{BaseConsumer, CommitMode, Consumer, StreamConsumer},
    error::{KafkaError, KafkaResult},
    message::Headers,
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer},
    types::RDKafkaErrorCode,
};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use broker::Broker;

const PATIENCE: Duration = Duration::from_mins(1);
const MOMENT: Duration = Duration::from_millis(20);

/// A broker. One of its own is killed with the test.
#[derive(Debug)]
pub struct Kafka {
    brokers: String,
    /// None: it was running already.
    own: Option<Broker>,
}

/// What `TEST_KAFKA` names.
enum Named {
    /// HOST:PORT.
    Running(String),
    Distribution(PathBuf),
}

fn named() -> Option<Named> {
    let named = env::var("TEST_KAFKA").ok()?;
    Some(if named.contains('/') { Named::Distribution(named.into()) } else { Named::Running(named) })
}

impl Kafka {
    /// The broker that `TEST_KAFKA` names, or else one of its own. None, after a line that says why, if there is neither.
    pub async fn start() -> Option<Self> {
        match named() {
            Some(Named::Running(brokers)) => Some(Self { brokers, own: None }),
            Some(Named::Distribution(_)) | None => Self::start_own().await,
        }
    }

    /// A broker that the test may kill. None, after a line that says why, if it is not installed.
    pub async fn start_own() -> Option<Self> {
        let own = match named() {
            Some(Named::Distribution(folder)) => Broker::apache(&folder).await,
            Some(Named::Running(_)) | None => Broker::in_memory().await?,
        };
        Some(Self { brokers: own.address(), own: Some(own) })
    }

    /// HOST:PORT.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Whether it is Apache Kafka. The other broker cannot delete messages, and the end of a partition that it tells may
    /// lie before the last ones of a batch.
    pub fn is_apache(&self) -> bool {
        self.own.as_ref().is_none_or(Broker::is_apache)
    }

    /// Whether its topics are there again when it was killed and started again. In memory they are not.
    pub fn keeps_its_topics(&self) -> bool {
        self.is_apache()
    }

    /// The least session timeout that it takes for members of groups. An Apache Kafka that was not told otherwise refuses
    /// less than 6 seconds. The one in memory lets a member wait half of it before it may join a group.
    pub fn session_timeout(&self) -> Duration {
        Duration::from_secs(if self.own.is_none() { 6 } else { 2 })
    }

    /// Makes an empty topic. Its name is used nowhere else.
    pub async fn topic(&self, partitions: i32) -> Topic {
        Topic::make(self.brokers.clone(), format!("test-{:016x}", rand::random::<u64>()), partitions).await
    }

    /// As when its machine loses its power. Nothing listens on its port then.
    pub async fn kill(&mut self) {
        self.own().kill().await;
    }

    /// At the same address. Apache Kafka has all that it acknowledged, and is the same cluster. The one in memory comes back
    /// as [`Kafka::start_anew`] says.
    pub async fn start_again(&mut self) {
        self.own().start_again().await;
    }

    /// A new broker at the same address: another cluster, without topics.
    pub async fn start_anew(&mut self) {
        self.own().start_anew().await;
    }

    /// It answers no more until it is resumed. Its connections stay open.
    pub async fn pause(&mut self) {
        let pid = self.own().signal("STOP").await;
        let began = Instant::now();
        while !has_stopped(pid) {
            assert!(began.elapsed() < PATIENCE, "the broker does not stop");
            sleep(MOMENT).await;
        }
    }

    pub async fn resume(&mut self) {
        self.own().signal("CONT").await;
    }

    fn own(&mut self) -> &mut Broker {
        self.own.as_mut().expect("the broker of TEST_KAFKA is not the test's: start one with start_own")
    }
}

/// Each thread notices by itself that the process is to stop.
fn has_stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the broker runs");
    threads.map_while(Result::ok).all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.contains("State:\tT")
    })
}

/// librdkafka waits for answers in calls that block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.expect("it does not panic")
}

/// The first group of a new cluster waits for the topic that the offsets of groups are kept in.
async fn coordinated<T: Send + 'static>(ask: impl Fn() -> KafkaResult<T> + Send + 'static) -> T {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    blocking(move || {
        let began = Instant::now();
        loop {
            match ask() {
                Ok(answer) => return answer,
                Err(error) => {
                    let soon = [NotCoordinator, CoordinatorNotAvailable, CoordinatorLoadInProgress].map(Some);
                    assert!(soon.contains(&error.rdkafka_error_code()) && began.elapsed() < PATIENCE, "{error}");
                    thread::sleep(MOMENT);
                }
            }
        }
    })
    .await
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        // A broker that was started again is soon found.
        .set("reconnect.backoff.max.ms", "200")
        .set("topic.metadata.refresh.fast.interval.ms", "50");
    config
}

fn producer(brokers: &str) -> FutureProducer {
    config(brokers)
        .set("message.timeout.ms", PATIENCE.as_millis().to_string())
        .set("linger.ms", "0")
        // What is sent again after a failure does not overtake what came after it.
        .set("max.in.flight.requests.per.connection", "1")
        .create()
        .expect("the settings are valid")
}

/// Sends to a topic until the broker acknowledges, however long it is away, and each message once. Several may send at the
/// same time.
#[derive(Clone)]
pub struct Sender {
    topic: String,
    producer: FutureProducer,
}

impl Sender {
    /// Returns the offsets, in the order of the payloads. None: it was never acknowledged, and may lie in the topic or not.
    pub async fn send_all<P: Into<Vec<u8>>>(
        &self,
        partition: i32,
        payloads: impl IntoIterator<Item = P>,
    ) -> Vec<Option<u64>> {
        let mut sent = Vec::new();
        for payload in payloads {
            let payload = payload.into();
            let record = FutureRecord::<[u8], [u8]>::to(&self.topic).partition(partition).payload(&payload);
            sent.push(self.producer.send_result(record).map_err(|(error, _)| error).expect("it can be sent"));
        }
        let mut offsets = Vec::new();
        for sent in sent {
            let delivered = sent.await.expect("the producer is there");
            offsets.push(delivered.ok().map(|delivered| as_offset(delivered.offset)));
        }
        offsets
    }
}

/// A message as it lies in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub offset: u64,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A topic, and what sends to it.
pub struct Topic {
    brokers: String,
    name: String,
    partitions: i32,
    producer: FutureProducer,
}

impl Topic {
    async fn make(brokers: String, name: String, partitions: i32) -> Self {
        let admin = admin(&brokers);
        let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let began = Instant::now();
        loop {
            let made = admin.create_topics([&new], &AdminOptions::new()).await.expect("the broker answers");
            match &made[..] {
                [Ok(_)] => break,
                // Apache Kafka deletes in the background.
                [Err((_, RDKafkaErrorCode::TopicAlreadyExists))] if began.elapsed() < PATIENCE => sleep(MOMENT).await,
                other => panic!("the topic cannot be made: {other:?}"),
            }
        }
        let producer = producer(&brokers);
        let topic = Self { brokers, name, partitions, producer };
        topic.wait_for(topic.partitions).await;
        topic
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the daemon takes it: BROKERS/TOPIC.
    pub fn address(&self) -> String {
        format!("{}/{}", self.brokers, self.name)
    }

    pub fn sender(&self) -> Sender {
        let producer = config(&self.brokers)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", (2 * PATIENCE).as_millis().to_string())
            .set("linger.ms", "0")
            .create()
            .expect("the settings are valid");
        Sender { topic: self.name.clone(), producer }
    }

    /// Returns the offset of the message once the broker has acknowledged it.
    pub async fn send(&self, partition: i32, payload: impl Into<Vec<u8>>) -> u64 {
        self.send_all(partition, [payload]).await
    }

    /// Returns the offset of the last one once the broker has acknowledged all. They lie in the topic in this order.
    pub async fn send_all<P: Into<Vec<u8>>>(&self, partition: i32, payloads: impl IntoIterator<Item = P>) -> u64 {
        let mut in_flight = VecDeque::new();
        let mut last = None;
        for payload in payloads {
            let payload = payload.into();
            let mut record = FutureRecord::<[u8], [u8]>::to(&self.name).partition(partition).payload(&payload);
            while let Err((error, refused)) = self.producer.send_result(record).map(|sent| in_flight.push_back(sent)) {
                assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "it can be sent");
                last = Some(acknowledged(in_flight.pop_front().expect("the queue is full")).await);
                record = refused;
            }
        }
        for sent in in_flight {
            last = Some(acknowledged(sent).await);
        }
        last.expect("there is a message")
    }

    /// Also what has a key, or no payload: a tombstone.
    pub async fn send_with(&self, partition: i32, key: Option<&[u8]>, payload: Option<&[u8]>) -> u64 {
        let record = FutureRecord { key, payload, ..FutureRecord::to(&self.name).partition(partition) };
        acknowledged(self.producer.send_result(record).map_err(|(error, _)| error).expect("it can be sent")).await
    }

    /// The payloads of the first `count` messages of the partition, once they are there.
    pub async fn messages(&self, partition: i32, count: usize) -> Vec<Vec<u8>> {
        let received = self.received(partition, count).await;
        received.into_iter().map(|message| message.payload.unwrap_or_default()).collect()
    }

    /// The first `count` messages of the partition, once they are there.
    pub async fn received(&self, partition: i32, count: usize) -> Vec<Received> {
        let consumer: StreamConsumer = self.consumer("reads-without-a-group");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&self.name, partition, Offset::Beginning).expect("the beginning is an offset");
        consumer.assign(&from).expect("it can be assigned");
        let mut received = Vec::new();
        while received.len() < count {
            let message = timeout(PATIENCE, consumer.recv()).await;
            let message = message.unwrap_or_else(|_| panic!("{} of {count} messages are there", received.len()));
            received.push(as_received(&message.expect("the partition can be read")));
        }
        received
    }

    /// As retention does it: the first message that is there afterwards is the one at this offset. Apache Kafka alone can.
    pub async fn delete_before(&self, partition: i32, offset: u64) {
        let deleted = admin(&self.brokers)
            .delete_records(&self.at(partition, offset), &AdminOptions::new())
            .await
            .expect("the broker answers");
        for partition in deleted.elements() {
            partition.error().expect("the messages can be deleted");
        }
    }

    /// Where a group that has no members goes on.
    pub async fn set_group_offset(&self, group: &str, partition: i32, offset: u64) {
        let consumer: BaseConsumer = self.consumer(group);
        let offsets = self.at(partition, offset);
        coordinated(move || consumer.commit(&offsets, CommitMode::Sync)).await;
    }

    /// None if the group has committed none.
    pub async fn group_offset(&self, group: &str, partition: i32) -> Option<u64> {
        let consumer: BaseConsumer = self.consumer(group);
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&self.name, partition);
        let found = coordinated(move || consumer.committed_offsets(asked.clone(), PATIENCE)).await;
        match found.elements()[0].offset() {
            Offset::Offset(offset) => Some(as_offset(offset)),
            _ => None,
        }
    }

    /// Returns once the broker does not know it any more.
    pub async fn delete(&self) {
        let deleted = admin(&self.brokers).delete_topics(&[&self.name], &AdminOptions::new()).await;
        deleted.expect("the broker answers").pop().expect("one topic was named").expect("the topic can be deleted");
        self.wait_for(0).await;
    }

    /// An empty topic of the same name: after [`Topic::delete`], or on a broker that was started anew.
    pub async fn make_again(self) -> Self {
        Self::make(self.brokers, self.name, self.partitions).await
    }

    /// Waits until the broker shows as many partitions, each with a leader.
    async fn wait_for(&self, partitions: i32) {
        let (producer, name) = (self.producer.clone(), self.name.clone());
        let expected = usize::try_from(partitions).expect("a number of partitions");
        blocking(move || {
            let began = Instant::now();
            loop {
                let metadata = producer.client().fetch_metadata(None, PATIENCE).expect("the broker answers");
                let topic = metadata.topics().iter().find(|topic| topic.name() == name);
                let led = topic.map_or(0, |topic| topic.partitions().iter().filter(|one| one.leader() >= 0).count());
                if led == expected {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "{led} of {expected} partitions are there");
                thread::sleep(MOMENT);
            }
        })
        .await;
    }

    fn consumer<C: FromClientConfig>(&self, group: &str) -> C {
        config(&self.brokers)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .create()
            .expect("the settings are valid")
    }

    fn at(&self, partition: i32, offset: u64) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(offset).expect("an offset"));
        list.add_partition_offset(&self.name, partition, offset).expect("it is an offset");
        list
    }
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    config(brokers).create().expect("the settings are valid")
}

async fn acknowledged(sent: DeliveryFuture) -> u64 {
    let delivered = sent.await.expect("the producer is there");
    as_offset(delivered.map_err(|(error, _)| error).expect("the broker acknowledges it").offset)
}

fn as_offset(offset: i64) -> u64 {
    u64::try_from(offset).expect("an offset")
}

fn as_received(message: &impl Message) -> Received {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Received {
        offset: as_offset(message.offset()),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect(),
    }
}
