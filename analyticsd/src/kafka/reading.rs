//! The loop that reads the topic.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use model::{SourceName, SourcePosition};
use rdkafka::error::KafkaError;
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinError, JoinSet, block_in_place},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    KafkaConfig,
    beginning::{Begun, CannotBegin, SITE, find_standing},
    consumer::{Bounds, Change, Polled, Told, TopicConsumer},
    message::Message,
    partition::{Partition, Received},
    storing::{Stored, Storing, StoringServices},
};
use crate::{process::tasks::Tasks, telemetry::outage::Outage};

/// The most bytes of messages that wait, of all partitions together. Those that are being stored come on top.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// How often the consumer group is told where its partitions stand, and the database is asked where those stand that wait
/// for messages.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// The pauses before a partition is asked for again.
const RETRY_SOON: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_secs(1);
const RETRY_WHAT_STAYS: Duration = Duration::from_secs(10);
/// How long the client may take to leave the group.
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);

/// Joins the consumer group, and reads until the daemon stops.
pub(crate) fn start(config: KafkaConfig, services: StoringServices, tasks: &Tasks) -> anyhow::Result<()> {
    let (consumer, told) = TopicConsumer::start(&config)?;
    let storing = Storing::new(config, services).context("cannot keep what cannot be stored")?;
    let reading = Reading {
        consumer: Arc::new(consumer),
        storing: Arc::new(storing),
        slots: HashMap::new(),
        work: JoinSet::new(),
        generations: 0,
        trouble: Outage::default(),
        waiting: Outage::default(),
    };
    let stopping = tasks.clone();
    tasks.spawn_lane(async move { reading.run(told, stopping).await });
    Ok(())
}

struct Reading {
    consumer: Arc<TopicConsumer>,
    storing: Arc<Storing>,
    /// The partitions that the group gave to this daemon.
    slots: HashMap<i32, Slot>,
    work: JoinSet<Done>,
    /// How many times a partition was begun.
    generations: u64,
    /// Whether the client has trouble with the brokers.
    trouble: Outage,
    /// Whether partitions wait for the database or the brokers to be begun.
    waiting: Outage,
}

/// A partition of this daemon.
struct Slot {
    /// Work of an earlier beginning does not concern it.
    generation: u64,
    state: State,
    /// Aborts what is done for it.
    work: AbortHandle,
    /// What the brokers have of it, if that is known.
    bounds: Option<Bounds>,
}

enum State {
    /// It is being found out where it stands. Messages that come meanwhile are dropped.
    Beginning {
        stalls: bool,
    },
    Reading {
        partition: Partition,
        source: SourceName,
    },
}

/// What was done for a partition.
struct Done {
    partition: i32,
    generation: u64,
    result: WorkResult,
}

enum WorkResult {
    Begun(Result<Begun, CannotBegin>),
    Stored(Stored),
    /// Where it stood as far as was known, and where it stands in the database.
    Looked {
        known: SourcePosition,
        found: SourcePosition,
    },
}

/// Why nothing is read any more.
enum Ended {
    Stopping,
    /// The client gave up, as when another member of the group has its name.
    Fatal(KafkaError),
    /// A bug; the end of the task stops the daemon.
    Failed(JoinError),
}

impl Reading {
    async fn run(mut self, mut told: Told, tasks: Tasks) {
        loop {
            match self.read(&mut told.changes, &tasks).await {
                Ended::Stopping => return self.leave(told.left).await,
                Ended::Failed(error) => return tracing::error!(%error, "reading the topic failed"),
                Ended::Fatal(error) => {
                    tracing::error!(%error, "the client of Kafka gave up; the daemon joins the consumer group anew");
                    self.work.shutdown().await;
                    self.slots.clear();
                    self.show();
                    if tasks.unless_stopping(sleep(RETRY_WHAT_STAYS)).await.is_none() {
                        return self.leave(told.left).await;
                    }
                    // The settings were accepted before.
                    match TopicConsumer::start(&self.storing.config) {
                        Ok((consumer, new)) => (self.consumer, told) = (Arc::new(consumer), new),
                        Err(error) => return tracing::error!(%error, "the consumer group cannot be joined"),
                    }
                }
            }
        }
    }

    async fn read(&mut self, changes: &mut mpsc::UnboundedReceiver<Change>, tasks: &Tasks) -> Ended {
        let mut tell = interval(TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let consumer = Arc::clone(&self.consumer);
        loop {
            // What the client tells comes before the messages behind it.
            tokio::select! {
                biased;
                () = tasks.stopping() => return Ended::Stopping,
                Some(change) = changes.recv() => self.changed(change),
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => return Ended::Failed(error),
                },
                _ = tell.tick() => {
                    self.tell_group();
                    self.look();
                }
                polled = consumer.next() => match polled {
                    Polled::Fatal(error) => return Ended::Fatal(error),
                    Polled::Message { partition, message } => self.receive(partition, message),
                    Polled::End => self.answered(),
                    Polled::Trouble(error) => if self.trouble.begins() {
                        tracing::warn!(%error, "the brokers of the topic cannot be read; the client tries again");
                    },
                }
            }
        }
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::Assigned(partitions) => {
                tracing::info!(?partitions, "the consumer group gave partitions of the topic to this daemon");
                for partition in partitions {
                    self.begin(partition, Duration::ZERO, false);
                }
            }
            Change::Revoked(partitions) => {
                tracing::info!(?partitions, "the consumer group took partitions of the topic from this daemon");
                for partition in partitions {
                    if let Some(slot) = self.slots.remove(&partition) {
                        slot.work.abort();
                    }
                }
            }
            Change::Bounds(bounds) => {
                for (number, bounds) in bounds {
                    let Some(slot) = self.slots.get_mut(&number) else { continue };
                    slot.bounds = Some(bounds);
                    if let State::Reading { partition, .. } = &mut slot.state {
                        self.storing.note_lost(number, partition.lost(bounds.first));
                    }
                }
            }
        }
        self.show();
    }

    /// Finds out where a partition stands, after a pause.
    fn begin(&mut self, partition: i32, pause: Duration, stalls: bool) {
        // What came meanwhile would be dropped.
        let _ = self.consumer.pause(partition);
        self.generations += 1;
        let generation = self.generations;
        let (consumer, storing) = (Arc::clone(&self.consumer), Arc::clone(&self.storing));
        let work = self.work.spawn(async move {
            sleep(pause).await;
            let begun = find_standing(&storing.config, &storing.services, consumer, partition).await;
            Done { partition, generation, result: WorkResult::Begun(begun) }
        });
        let slot = Slot { generation, state: State::Beginning { stalls }, work, bounds: None };
        if let Some(earlier) = self.slots.insert(partition, slot) {
            earlier.work.abort();
        }
    }

    fn done(&mut self, Done { partition, generation, result }: Done) {
        let Some(slot) = self.slots.get_mut(&partition).filter(|slot| slot.generation == generation) else { return };
        match (result, &mut slot.state) {
            (WorkResult::Begun(Ok(begun)), _) => self.read_from(partition, begun),
            (WorkResult::Begun(Err(error)), _) => self.cannot_begin(partition, &error),
            (WorkResult::Stored(Stored::To(position)), State::Reading { partition: of, .. }) => {
                (of.stored, of.is_storing) = (position, false);
                self.go_on(partition);
            }
            // What was stored meanwhile is no surprise.
            (WorkResult::Looked { known, found }, State::Reading { partition: of, .. })
                if !of.is_idle() || of.stored != known || found == known => {}
            (WorkResult::Stored(_) | WorkResult::Looked { .. }, _) => {
                tracing::info!(partition, "the partition stands elsewhere in the database, and is read from there");
                self.begin(partition, Duration::ZERO, false);
            }
        }
    }

    fn cannot_begin(&mut self, partition: i32, error: &CannotBegin) {
        let stalls = error.stays();
        if stalls {
            tracing::error!(partition, "the partition of the topic is not read: {error}");
        } else if self.waiting.begins() {
            tracing::warn!(partition, "partitions of the topic are not read yet: {error}");
        }
        self.begin(partition, if stalls { RETRY_WHAT_STAYS } else { RETRY }, stalls);
        self.show();
    }

    fn read_from(&mut self, partition: i32, Begun { source, stored, first }: Begun) {
        let from = Partition::reads_from(&stored).max(first);
        // It waits for the client alone, for some milliseconds. In a task of its own messages would come before it is over.
        let consumer = &self.consumer;
        if let Err(error) = block_in_place(|| consumer.seek(partition, from).and_then(|()| consumer.resume(partition)))
        {
            // As long as the client does not fetch it yet.
            tracing::debug!(partition, %error, "the partition cannot be read from there yet");
            return self.begin(partition, RETRY_SOON, false);
        }
        if self.waiting.ends() {
            tracing::info!("partitions of the topic are read");
        }
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.state = State::Reading { partition: Partition::at(stored), source };
        }
        self.show();
    }

    /// Notes that the brokers answer.
    fn answered(&mut self) {
        if self.trouble.ends() {
            tracing::info!("the brokers of the topic answer again");
        }
    }

    fn receive(&mut self, number: i32, message: Message) {
        self.answered();
        let limit = MAX_WAITING_BYTES / self.slots.len().max(1);
        let Some(Slot { state: State::Reading { partition, .. }, .. }) = self.slots.get_mut(&number) else { return };
        match partition.receive(message) {
            Received::Taken => {
                if partition.bytes() > limit && !partition.is_paused {
                    partition.is_paused = self.consumer.pause(number).is_ok();
                }
                self.go_on(number);
            }
            Received::OtherContent => {
                let stored = partition.stored.position;
                self.cannot_begin(number, &CannotBegin::OtherContent { stored });
            }
            Received::Backwards => {
                tracing::warn!(partition = number, "the brokers went back to earlier messages of the partition");
                self.begin(number, Duration::ZERO, false);
            }
        }
    }

    /// Stores what waits, unless something of it is being stored already.
    fn go_on(&mut self, number: i32) {
        let limit = MAX_WAITING_BYTES / self.slots.len().max(1);
        let Some(slot) = self.slots.get_mut(&number) else { return };
        let State::Reading { partition, source } = &mut slot.state else { return };
        if partition.is_storing {
            return;
        }
        let (messages, from) = (partition.take(), partition.stored.clone());
        if partition.is_paused && partition.bytes() <= limit / 2 {
            partition.is_paused = self.consumer.resume(number).is_err();
        }
        if messages.is_empty() {
            return;
        }
        partition.is_storing = true;
        let (storing, source, generation) = (Arc::clone(&self.storing), source.clone(), slot.generation);
        slot.work = self.work.spawn(async move {
            let stored = storing.store(number, &source, from, messages).await;
            Done { partition: number, generation, result: WorkResult::Stored(stored) }
        });
    }

    /// Where the partitions that are read stand.
    fn positions(&self) -> impl Iterator<Item = (i32, u64)> {
        self.slots.iter().filter_map(|(&number, slot)| match &slot.state {
            State::Reading { partition, .. } => Some((number, partition.stored.position)),
            State::Beginning { .. } => None,
        })
    }

    fn tell_group(&self) {
        self.consumer.tell_group(self.positions());
    }

    /// Asks the database about partitions that wait for messages. One that was restored has them elsewhere, and without a message to
    /// store nothing else shows that.
    fn look(&mut self) {
        for (&number, slot) in &mut self.slots {
            let State::Reading { partition, source } = &slot.state else { continue };
            if !partition.is_idle() {
                continue;
            }
            let (storing, source, generation) = (Arc::clone(&self.storing), source.clone(), slot.generation);
            let known = partition.stored.clone();
            slot.work = self.work.spawn(async move {
                let found = storing.services.shards.source_standing(SITE, &source).await;
                // Without an answer the next look will tell.
                let found = found.map_or_else(|_| known.clone(), |standing| standing.at);
                Done { partition: number, generation, result: WorkResult::Looked { known, found } }
            });
        }
    }

    /// Shows the partitions of this daemon in the metrics.
    fn show(&self) {
        let [stalled, beginning] = [true, false].map(|stalls| {
            let is_so = |slot: &&Slot| matches!(slot.state, State::Beginning { stalls: it } if it == stalls);
            self.slots.values().filter(is_so).count()
        });
        let lags = self.slots.iter().map(|(&number, slot)| match &slot.state {
            State::Reading { partition, .. } => (number, partition.lag(slot.bounds)),
            State::Beginning { .. } => (number, None),
        });
        self.storing.services.metrics.kafka.shows(stalled, beginning, lags);
    }

    /// Leaves the group, so that its other daemons take over at once.
    async fn leave(self, left: oneshot::Receiver<()>) {
        self.tell_group();
        let Self { consumer, mut work, .. } = self;
        work.shutdown().await;
        drop(consumer);
        if timeout(LEAVE_PATIENCE, left).await.is_err() {
            tracing::warn!(
                "the consumer group is not left in order: its partitions are still being shared out, or the brokers do not answer"
            );
        }
    }
}
