//! Mixed load from many clients, each of which writes down what it did and what it was told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use model::{
    Event, EventKind, Hour, HourCounts, Timestamp, UserName,
    wire::{ANALYTICS_PATH, BATCH_PATH, write_line},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::{Client, RequestBuilder, StatusCode, redirect, retry};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::operation::{Action, Operation, Outcome};

/// The longest that a client waits for an answer: longer than the daemon may take to find out what became of a commit.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a client pauses after something other than success, so that it does not spin while the daemon is away.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);
/// How long progress may take before a scenario is given up.
const PATIENCE: Duration = Duration::from_mins(2);
const MILLIS_PER_HOUR: i64 = 3_600_000;

/// What clients ask for, and when it happened according to them.
#[derive(Debug, Clone)]
pub struct Mix {
    /// The share of requests that read counts.
    pub reads: f64,
    /// The share of writes that are batches.
    pub batches: f64,
    /// The most events in a batch.
    pub batch_events: usize,
    /// The share of requests that are for the current hour.
    pub present: f64,
    /// The instants that the rest is for: each within the hour of one of these.
    pub others: Vec<Timestamp>,
    /// The longest that a client pauses between requests; it pauses for a random part of it.
    pub pause: Duration,
}

impl Mix {
    /// The usual mix: 95 % for the current hour, the rest for the three days before it.
    pub fn usual() -> Self {
        let now = Timestamp::now().millis();
        let others = (1..=72).filter_map(|hours| Timestamp::from_millis(now - hours * MILLIS_PER_HOUR).ok()).collect();
        Self { reads: 0.3, batches: 0.1, batch_events: 50, present: 0.95, others, pause: Duration::ZERO }
    }

    fn choose_instant(&self, rng: &mut StdRng) -> Timestamp {
        let now = Timestamp::now();
        if self.others.is_empty() || rng.random_bool(self.present) {
            return now;
        }
        let hour = Hour::containing(*self.others.choose(rng).unwrap_or(&now)).start().millis();
        Timestamp::from_millis(hour + rng.random_range(0..MILLIS_PER_HOUR)).expect("every hour lies in the range")
    }
}

/// What all clients came to so far, in events.
#[derive(Default)]
struct Progress {
    acknowledged: AtomicU64,
    refused: AtomicU64,
}

impl Progress {
    fn note(&self, operation: &Operation) {
        let Action::Send { events, outcome } = &operation.action else { return };
        let sum = match outcome {
            Outcome::Acknowledged => &self.acknowledged,
            Outcome::Refused => &self.refused,
            Outcome::Queued | Outcome::Unknown | Outcome::Unsent => return,
        };
        sum.fetch_add(events.len() as u64, Ordering::Relaxed);
    }
}

/// Clients at work.
pub struct Traffic {
    clients: JoinSet<Vec<Operation>>,
    targets: watch::Sender<Vec<String>>,
    stop: watch::Sender<bool>,
    progress: Arc<Progress>,
}

impl Traffic {
    /// Starts clients that send their requests to these daemons, each time to any of them. Clients of different `generation`s, from 0,
    /// never have the same number.
    pub fn start(seed: u64, generation: u32, clients: u32, mix: &Mix, urls: &[&str]) -> Self {
        let (targets, _) = watch::channel(owned(urls));
        let (stop, _) = watch::channel(false);
        let progress = Arc::new(Progress::default());
        let mut tasks = JoinSet::new();
        for number in (0..clients).map(|n| generation * 1_000 + n) {
            let client = TestClient {
                number,
                rng: StdRng::seed_from_u64(seed ^ (u64::from(number) << 32)),
                http: http_client(),
                targets: targets.subscribe(),
                sent: 0,
            };
            tasks.spawn(client.run(mix.clone(), stop.subscribe(), Arc::clone(&progress)));
        }
        Self { clients: tasks, targets, stop, progress }
    }

    /// Sends what comes to other daemons; while there are none the clients wait. Whoever ends a daemon points the clients elsewhere at
    /// once, since its port may soon be that of a stranger.
    pub fn point_at(&self, urls: &[&str]) {
        self.targets.send_replace(owned(urls));
    }

    /// How many events were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.progress.acknowledged.load(Ordering::Relaxed)
    }

    /// How many events were refused so far.
    pub fn refused(&self) -> u64 {
        self.progress.refused.load(Ordering::Relaxed)
    }

    /// Waits until so many more events are acknowledged.
    pub async fn acknowledge(&self, more: u64) -> anyhow::Result<()> {
        let goal = self.acknowledged() + more;
        let began = Instant::now();
        while self.acknowledged() < goal {
            if began.elapsed() > PATIENCE {
                bail!("of {goal} events only {} were acknowledged after {PATIENCE:?}", self.acknowledged());
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Lets every client get the answer to its last request, and returns all that they did.
    pub async fn stop(mut self) -> anyhow::Result<Vec<Operation>> {
        self.stop.send_replace(true);
        let mut operations = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            operations.extend(client.context("a client failed")?);
        }
        Ok(operations)
    }
}

fn owned(urls: &[&str]) -> Vec<String> {
    urls.iter().map(|&url| url.to_owned()).collect()
}

/// A client that keeps one connection open and sends nothing twice.
fn http_client() -> Client {
    Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .pool_max_idle_per_host(1)
        .retry(retry::never())
        .redirect(redirect::Policy::none())
        .build()
        .expect("a client without TLS and with constant settings can be built")
}

struct TestClient {
    number: u32,
    rng: StdRng,
    http: Client,
    targets: watch::Receiver<Vec<String>>,
    sent: u64,
}

impl TestClient {
    async fn run(mut self, mix: Mix, stop: watch::Receiver<bool>, progress: Arc<Progress>) -> Vec<Operation> {
        let mut operations = Vec::new();
        while !*stop.borrow() {
            let Some(target) = self.target().await else { break };
            let began = Instant::now();
            let action = if self.rng.random_bool(mix.reads) {
                self.read(&target, &mix).await
            } else {
                self.write(&target, &mix).await
            };
            let operation = Operation { client: self.number, began, ended: Instant::now(), action };
            progress.note(&operation);
            if !operation.succeeded() {
                sleep(PAUSE_AFTER_FAILURE).await;
            }
            operations.push(operation);
            if !mix.pause.is_zero() {
                sleep(mix.pause.mul_f64(self.rng.random())).await;
            }
        }
        operations
    }

    async fn read(&mut self, target: &str, mix: &Mix) -> Action {
        let at = mix.choose_instant(&mut self.rng);
        let url = format!("{target}{ANALYTICS_PATH}?{}={}", Timestamp::PARAMETER, at.millis());
        let counts = async {
            let response = self.http.get(url).send().await.ok()?;
            let answered = response.status() == StatusCode::OK;
            let body = response.text().await.ok()?;
            answered.then(|| body.parse::<HourCounts>().ok())?
        };
        Action::Read { hour: Hour::containing(at), counts: counts.await }
    }

    async fn write(&mut self, target: &str, mix: &Mix) -> Action {
        let is_batch = self.rng.random_bool(mix.batches);
        let count = if is_batch { self.rng.random_range(1..=mix.batch_events) } else { 1 };
        let events: Vec<Event> = (0..count).map(|_| self.choose_event(mix)).collect();
        let request = if is_batch {
            let mut lines = Vec::new();
            for event in &events {
                write_line(event, None, &mut lines);
            }
            self.http.post(format!("{target}{BATCH_PATH}")).body(lines)
        } else {
            let Event { at, user, kind } = &events[0];
            self.http.post(format!("{target}{ANALYTICS_PATH}?timestamp={}&user={user}&event={kind}", at.millis()))
        };
        Action::Send { events, outcome: outcome_of(request).await }
    }

    /// Any of the daemons there are; waits while there are none. None when there will be no more.
    async fn target(&mut self) -> Option<String> {
        let urls = self.targets.wait_for(|urls| !urls.is_empty()).await.ok()?;
        urls.choose(&mut self.rng).cloned()
    }

    /// Some users come often, some are new to every client at about the same time, and some are seen once: a stored event of such a
    /// user can only be the one that was sent.
    fn choose_event(&mut self, mix: &Mix) -> Event {
        self.sent += 1;
        let name = match self.rng.random_range(0..10) {
            0..5 => format!("regular-{}", self.rng.random_range(0..20)),
            5..8 => format!("new-{}", self.sent / 20 * 20 + self.rng.random_range(0..20)),
            _ => format!("once-{}-{}", self.number, self.sent),
        };
        Event {
            at: mix.choose_instant(&mut self.rng),
            user: UserName::new(name).expect("the name is short and has no NUL"),
            kind: if self.rng.random_bool(0.5) { EventKind::Click } else { EventKind::Impression },
        }
    }
}

async fn outcome_of(request: RequestBuilder) -> Outcome {
    match request.send().await {
        Ok(response) => match response.status() {
            StatusCode::NO_CONTENT => Outcome::Acknowledged,
            StatusCode::ACCEPTED => Outcome::Queued,
            _ => Outcome::Refused,
        },
        Err(error) if error.is_connect() => Outcome::Unsent,
        Err(_) => Outcome::Unknown,
    }
}
