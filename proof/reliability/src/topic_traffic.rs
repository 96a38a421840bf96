//! Messages that go to a topic all the time, and daemons that read it. What the broker acknowledged is the ledger: each
//! message counts once, and one that was not acknowledged at most once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use harness::{Daemon, Kafka, PrivateServer, Sender, Topic};
use model::{Event, EventKind, SiteEvent, Timestamp, UserName, wire::write_line};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    history,
    operation::{Action, Operation, Outcome},
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

pub(crate) const PARTITIONS: i32 = 4;
/// The most messages that a client sends together, and the longest pause behind them: few enough for the daemons to keep up.
const MOST_TOGETHER: u64 = 50;
const LONGEST_PAUSE: Duration = Duration::from_millis(40);
/// How long a scenario waits for progress.
const PATIENCE: Duration = Duration::from_mins(2);
const MOMENT: Duration = Duration::from_millis(50);
/// How long the daemons may take at the end until all is stored.
const CATCH_UP: Duration = Duration::from_mins(1);

/// What readers of the hours may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    NeverFall,
    /// Nobody reads them before the end.
    Fall,
}

/// A client for each partition, and clients that read the hours of their events.
pub(crate) struct TopicTraffic {
    topic: Topic,
    /// Settings of the daemons' client of Kafka, and what they reject.
    folder: TempDir,
    senders: JoinSet<Vec<Operation>>,
    stop: watch::Sender<bool>,
    ends: Arc<Ends>,
    /// What was sent, once it is over.
    sent: Vec<Operation>,
    readers: Traffic,
}

/// Behind the last message of each partition that the broker acknowledged.
type Ends = [AtomicU64; PARTITIONS as usize];

impl TopicTraffic {
    pub(crate) async fn start(options: &Options, kafka: &Kafka, counts: Counts) -> anyhow::Result<Self> {
        let topic = kafka.topic(PARTITIONS).await;
        let folder = tempfile::tempdir()?;
        let session = kafka.session_timeout().as_millis();
        let client = format!(
            "session.timeout.ms={session}\nheartbeat.interval.ms=500\nreconnect.backoff.max.ms=200\n\
             topic.metadata.refresh.fast.interval.ms=50\n"
        );
        std::fs::write(folder.path().join("client"), client)?;
        let hours = Mix::usual().others;
        let readers = if counts == Counts::NeverFall { options.clients / 2 } else { 0 };
        let mix =
            Mix { reads: 1.0, present: 0.0, others: hours.clone(), pause: Duration::from_millis(40), ..Mix::usual() };
        let readers = Traffic::start(options.seed, 0, readers, &mix, &[]);

        let (stop, stopped) = watch::channel(false);
        let (mut senders, ends, sender) = (JoinSet::new(), Arc::new(Ends::default()), topic.sender());
        for partition in 0..PARTITIONS {
            let rng = StdRng::seed_from_u64(options.seed ^ u64::try_from(partition)?);
            let client = TopicClient { partition, rng, sender: sender.clone(), hours: hours.clone(), sent: 0 };
            senders.spawn(client.run(stopped.clone(), Arc::clone(&ends)));
        }
        Ok(Self { topic, folder, senders, stop, ends, sent: Vec::new(), readers })
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The consumer group of the daemons.
    pub(crate) fn group(&self) -> &str {
        self.topic.name()
    }

    /// A daemon that reads the topic.
    pub(crate) async fn start_daemon(&self, options: &Options, database_url: &str) -> Daemon {
        let (topic, folder) = (self.topic.address(), self.folder.path());
        let (client, rejected) = (folder.join("client").display().to_string(), folder.display().to_string());
        let reads = ["--kafka", &topic, "--kafka-group", self.group(), "--kafka-config-file", &client];
        let other = ["--kafka-rejected", &rejected, "--admin-listen", "127.0.0.1:0"];
        options.start_daemon(database_url, &[&reads[..], &other].concat()).await
    }

    /// From now on, the hours are read from these daemons.
    pub(crate) fn point_at<'a>(&self, daemons: impl IntoIterator<Item = &'a Daemon>) {
        let urls: Vec<&str> = daemons.into_iter().map(Daemon::url).collect();
        self.readers.point_at(&urls);
    }

    /// Behind the last message of each partition that the broker acknowledged.
    pub(crate) fn ends(&self) -> BTreeMap<i32, u64> {
        (0..).zip(self.ends.iter().map(|end| end.load(Ordering::Relaxed))).collect()
    }

    /// Waits until this many more messages are stored.
    pub(crate) async fn store(&self, database_url: &str, more: u64) -> anyhow::Result<()> {
        let saboteur = Saboteur::connect_when_up(database_url).await?;
        let stored = async || anyhow::Ok(saboteur.positions_of_partitions().await?.values().sum::<u64>());
        let (began, goal) = (Instant::now(), stored().await? + more);
        while stored().await? < goal {
            ensure!(began.elapsed() < PATIENCE, "{more} more messages are not stored after {PATIENCE:?}");
            sleep(MOMENT).await;
        }
        Ok(())
    }

    /// Waits until all is stored that was acknowledged before.
    pub(crate) async fn store_all(&self, database_url: &str) -> anyhow::Result<()> {
        let (saboteur, ends) = (Saboteur::connect_when_up(database_url).await?, self.ends());
        let began = Instant::now();
        loop {
            let stored = saboteur.positions_of_partitions().await?;
            if are_stored(&ends, &stored) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "of {ends:?} only {stored:?} is stored after {PATIENCE:?}");
            sleep(MOMENT).await;
        }
    }

    /// Waits until the partitions are shared out among these daemons.
    pub(crate) async fn share_out(&self, daemons: &[Daemon]) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let mut shares = Vec::new();
            for daemon in daemons {
                shares.push(daemon.metric("analyticsd_kafka_partitions").await.unwrap_or_default());
            }
            let sharing = shares.iter().filter(|share| **share > 0.0).count();
            let is_whole = shares.iter().sum::<f64>() >= f64::from(PARTITIONS);
            if is_whole && sharing == daemons.len().min(self.ends.len()) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "the daemons have {shares:?} partitions after {PATIENCE:?}");
            sleep(MOMENT).await;
        }
    }

    /// Returns once the broker has answered for the last message.
    pub(crate) async fn stop_sending(&mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        while let Some(client) = self.senders.join_next().await {
            self.sent.extend(client.context("a client failed")?);
        }
        Ok(())
    }

    /// Stops the clients, waits until the daemons have read all, and audits.
    pub(crate) async fn stop_and_audit(
        mut self,
        report: &mut Report,
        server: &PrivateServer,
        daemons: &[&Daemon],
    ) -> anyhow::Result<()> {
        self.stop_sending().await?;
        let saboteur = Saboteur::connect(server.url()).await?;
        let began = Instant::now();
        while let Some(lacking) = self.lacking(&saboteur, daemons).await? {
            if began.elapsed() > CATCH_UP {
                report.broke(format_args!("not all is read after {CATCH_UP:?}: {lacking}"));
                break;
            }
            sleep(MOMENT).await;
        }
        self.point_at(daemons.iter().copied());
        let mut operations = self.readers.stop().await?;
        saboteur.wait_for_rest().await?;

        operations.extend(self.sent.iter().cloned());
        let verdict = report.judge(server.store(), &operations).await?;
        report.promise(verdict.is_clean(), &verdict);
        report.audit_counts(server.store()).await?;
        report.audit_answers(server.store(), daemons).await?;
        // When the broker acknowledges, no daemon has read it yet. At rest, all have.
        let rest = Instant::now();
        for operation in &mut operations {
            if operation.outcome().is_some() {
                operation.ended = rest;
            }
        }
        for violation in history::violations(&operations) {
            report.broke(violation);
        }
        let rejected = std::fs::read_to_string(self.folder.path().join("rejected.ndjson")).unwrap_or_default();
        report.promise(rejected.is_empty(), format_args!("messages were rejected: {rejected}"));
        let deadlocks = saboteur.deadlocks().await?;
        report.promise(deadlocks == 0, format_args!("the database broke {deadlocks} deadlocks"));
        Ok(())
    }

    /// What shows that some messages are not read yet, also of those that were not acknowledged.
    async fn lacking(&self, saboteur: &Saboteur, daemons: &[&Daemon]) -> anyhow::Result<Option<String>> {
        let (ends, stored) = (self.ends(), saboteur.positions_of_partitions().await?);
        let mut shown = Vec::new();
        for daemon in daemons {
            let metrics = daemon.metrics().await;
            shown.extend(metrics.lines().filter(|line| line.starts_with("analyticsd_kafka_")).map(str::to_owned));
        }
        let is_read = |partition| {
            let lag = format!("analyticsd_kafka_lag_messages{{partition=\"{partition}\"}} 0");
            shown.iter().any(|line| line.trim_end_matches(".0") == lag)
        };
        if are_stored(&ends, &stored) && (0..PARTITIONS).all(is_read) {
            return Ok(None);
        }
        Ok(Some(format!("acknowledged {ends:?}, stored {stored:?}; {}", shown.join("; "))))
    }
}

fn are_stored(ends: &BTreeMap<i32, u64>, stored: &BTreeMap<i32, u64>) -> bool {
    ends.iter().all(|(partition, end)| stored.get(partition).copied().unwrap_or_default() >= *end)
}

struct TopicClient {
    partition: i32,
    rng: StdRng,
    sender: Sender,
    /// Events are of these hours.
    hours: Vec<Timestamp>,
    sent: u64,
}

impl TopicClient {
    async fn run(mut self, stopped: watch::Receiver<bool>, ends: Arc<Ends>) -> Vec<Operation> {
        let mut operations = Vec::new();
        while !*stopped.borrow() {
            let events: Vec<SiteEvent> =
                (0..self.rng.random_range(1..=MOST_TOGETHER)).map(|_| self.choose_event()).collect();
            let began = Instant::now();
            let offsets = self.sender.send_all(self.partition, events.iter().map(line)).await;
            let ended = Instant::now();
            if let Some(last) = offsets.iter().flatten().max() {
                ends[usize::try_from(self.partition).expect("a partition")].store(last + 1, Ordering::Relaxed);
            }
            let (acknowledged, unknown): (Vec<_>, Vec<_>) =
                events.into_iter().zip(offsets).partition(|(_, offset)| offset.is_some());
            for (events, outcome) in [(acknowledged, Outcome::Acknowledged), (unknown, Outcome::Unknown)] {
                let events: Vec<SiteEvent> = events.into_iter().map(|(event, _)| event).collect();
                if !events.is_empty() {
                    let client = u32::try_from(self.partition).expect("a partition");
                    operations.push(Operation { client, began, ended, action: Action::Send { events, outcome } });
                }
            }
            sleep(LONGEST_PAUSE.mul_f64(self.rng.random())).await;
        }
        operations
    }

    /// Each has a user of its own, so that one that is lost cannot be made up for by one that counts twice.
    fn choose_event(&mut self) -> SiteEvent {
        self.sent += 1;
        SiteEvent::nameless(Event {
            at: *self.hours.choose(&mut self.rng).expect("there is an hour"),
            user: UserName::new(format!("{}-{}", self.partition, self.sent)).expect("digits make a name"),
            kind: if self.rng.random_bool(0.5) { EventKind::Click } else { EventKind::Impression },
        })
    }
}

fn line(event: &SiteEvent) -> Vec<u8> {
    let mut line = Vec::new();
    write_line(&event.event, None, None, &mut line);
    line
}
