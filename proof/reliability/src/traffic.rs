//! Mixed load from many clients, which record their operations.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use model::{
    Event, EventKind, Hour, IdempotencyKey, ShardCount, SiteEvent, SiteHour, SiteId, SiteName, SourceName, Timestamp,
    UserName,
    wire::{ANALYTICS_PATH, BATCH_PATH, write_line},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::{Client, RequestBuilder, StatusCode, header::RETRY_AFTER, redirect, retry};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    answer::{Answer, Asked},
    operation::{Action, Operation, Outcome},
    parts::Parts,
};

/// Longer than the daemon may take to find out the fate of a commit.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// After a failure, so that clients do not spin while the daemon is away.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);
/// How long a scenario waits for progress.
const PATIENCE: Duration = Duration::from_mins(2);
const MILLIS_PER_HOUR: i64 = 3_600_000;

/// A site that clients use; the one without a name has none.
#[derive(Debug, Clone)]
pub struct Site {
    pub id: SiteId,
    pub name: Option<SiteName>,
}

impl Site {
    /// What names it in a query, behind other parameters.
    fn parameter(&self) -> String {
        self.name.as_ref().map(|name| format!("&{}={name}", SiteName::PARAMETER)).unwrap_or_default()
    }
}

#[derive(Debug, Clone)]
pub struct Mix {
    /// The share of requests that read counts.
    pub reads: f64,
    /// The share of writes that are batches.
    pub batches: f64,
    /// The share of writes with an idempotency key, which are repeated until they are acknowledged.
    pub keyed: f64,
    /// The most events in a batch.
    pub batch_events: usize,
    /// The share of requests that are for the current hour.
    pub present: f64,
    /// The other requests are for the hours of these times.
    pub others: Vec<Timestamp>,
    /// Each event and each read is for any of them.
    pub sites: Vec<Site>,
    /// Between two requests a client pauses for a random part of this.
    pub pause: Duration,
    /// Whether the daemons have a spool. Without one they must not answer 202.
    pub has_spool: bool,
    /// Of how many databases the counter is. Every batch for several has a key or is a part of a source.
    pub shards: ShardCount,
    /// The share of batches that are parts of the source of their client, which are repeated until they are
    /// acknowledged.
    pub sources: f64,
    /// Whether a database may be restored to an earlier state, so that sources are read again from there.
    pub restores: bool,
}

impl Mix {
    /// 95 % for the current hour, the rest for the three days before.
    pub fn usual() -> Self {
        let now = Timestamp::now().millis();
        let others = (1..=72).filter_map(|hours| Timestamp::from_millis(now - hours * MILLIS_PER_HOUR).ok()).collect();
        Self {
            reads: 0.3,
            batches: 0.1,
            keyed: 0.25,
            batch_events: 50,
            present: 0.95,
            others,
            sites: vec![Site { id: SiteId::NAMELESS, name: None }],
            pause: Duration::ZERO,
            has_spool: false,
            shards: ShardCount::ONE,
            sources: 0.0,
            restores: false,
        }
    }

    /// The same for a counter of so many databases, with more batches, half of them of sources.
    pub fn over(shards: ShardCount) -> Self {
        Self { batches: 0.2, sources: 0.5, shards, ..Self::usual() }
    }

    /// Only single events without keys, and reads: no client waits until a database is back.
    pub fn of_singles(shards: ShardCount) -> Self {
        Self { batches: 0.0, keyed: 0.0, shards, ..Self::usual() }
    }

    /// Whether a refusal promises that no event is stored. Of a batch over several databases some may have stored their
    /// part.
    fn is_of_one_commit(&self, events: &[SiteEvent]) -> bool {
        let mut shards = events.iter().map(|event| self.shards.shard_of(&event.event.user));
        let first = shards.next();
        shards.all(|shard| Some(shard) == first)
    }

    fn choose_site(&self, rng: &mut StdRng) -> &Site {
        // One that needs no choice takes no random number, so that a seed gives what it gave before.
        if let [site] = &*self.sites { site } else { self.sites.choose(rng).expect("there is a site") }
    }

    fn name_of(&self, id: SiteId) -> Option<&SiteName> {
        self.sites.iter().find(|site| site.id == id)?.name.as_ref()
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

/// Of all clients, in events.
#[derive(Default)]
struct Progress {
    acknowledged: AtomicU64,
    queued: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    /// Of the visitors of each database.
    acknowledged_of: Vec<AtomicU64>,
}

impl Progress {
    fn of(shards: ShardCount) -> Self {
        Self { acknowledged_of: (0..shards.get()).map(|_| AtomicU64::default()).collect(), ..Self::default() }
    }

    fn note(&self, operation: &Operation) {
        let Action::Send { events, outcome } = &operation.action else { return };
        if *outcome == Outcome::Acknowledged {
            let shards = ShardCount::new(self.acknowledged_of.len()).unwrap_or(ShardCount::ONE);
            for event in events {
                self.acknowledged_of[shards.shard_of(&event.event.user)].fetch_add(1, Ordering::Relaxed);
            }
        }
        let sum = match outcome {
            Outcome::Acknowledged => &self.acknowledged,
            Outcome::Refused => &self.refused,
            Outcome::Queued => &self.queued,
            Outcome::Unknown => &self.unknown,
            Outcome::Unsent => return,
        };
        sum.fetch_add(events.len() as u64, Ordering::Relaxed);
    }
}

pub struct Traffic {
    clients: JoinSet<Vec<Operation>>,
    targets: watch::Sender<Vec<String>>,
    stop: watch::Sender<bool>,
    progress: Arc<Progress>,
}

impl Traffic {
    /// Each request goes to any of these daemons. Clients of different `generation`s, from 0, have different numbers.
    pub fn start(seed: u64, generation: u32, clients: u32, mix: &Mix, urls: &[&str]) -> Self {
        let (targets, _) = watch::channel(owned(urls));
        let (stop, _) = watch::channel(false);
        let progress = Arc::new(Progress::of(mix.shards));
        let mut tasks = JoinSet::new();
        for number in (0..clients).map(|n| generation * 1_000 + n) {
            let client = TestClient {
                number,
                rng: StdRng::seed_from_u64(seed ^ (u64::from(number) << 32)),
                http: http_client(),
                targets: targets.subscribe(),
                has_spool: mix.has_spool,
                sent: 0,
                protests: Vec::new(),
                parts: Parts::default(),
            };
            tasks.spawn(client.run(mix.clone(), stop.subscribe(), Arc::clone(&progress)));
        }
        Self { clients: tasks, targets, stop, progress }
    }

    /// From now on, requests go to these daemons; while there are none, the clients wait. To be called as soon as a
    /// daemon has ended, since another process may get its port.
    pub(crate) fn point_at(&self, urls: &[&str]) {
        self.targets.send_replace(owned(urls));
    }

    pub fn acknowledged(&self) -> u64 {
        self.progress.acknowledged.load(Ordering::Relaxed)
    }

    /// Includes events that were sent again and acknowledged.
    pub fn refused(&self) -> u64 {
        self.progress.refused.load(Ordering::Relaxed)
    }

    pub fn queued(&self) -> u64 {
        self.progress.queued.load(Ordering::Relaxed)
    }

    /// Waits until this many more events are acknowledged.
    pub(crate) async fn acknowledge(&self, more: u64) -> anyhow::Result<()> {
        reach(|| self.acknowledged(), more, "acknowledged").await
    }

    /// Waits until this many more events of the visitors of a shard are acknowledged.
    pub(crate) async fn acknowledge_of(&self, shard: usize, more: u64) -> anyhow::Result<()> {
        let acknowledged = &self.progress.acknowledged_of[shard];
        reach(|| acknowledged.load(Ordering::Relaxed), more, "acknowledged").await
    }

    /// Waits until this many more events are refused.
    pub(crate) async fn refuse(&self, more: u64) -> anyhow::Result<()> {
        reach(|| self.refused(), more, "refused").await
    }

    /// Waits until this many more events are in the daemon's spool.
    pub(crate) async fn spool(&self, more: u64) -> anyhow::Result<()> {
        reach(|| self.queued(), more, "spooled").await
    }

    /// Waits until this many more events are refused or get no answer.
    pub(crate) async fn leave_unpromised(&self, more: u64) -> anyhow::Result<()> {
        let Progress { refused, unknown, .. } = &*self.progress;
        reach(|| refused.load(Ordering::Relaxed) + unknown.load(Ordering::Relaxed), more, "not promised").await
    }

    /// Waits until this many more events have got any answer.
    pub(crate) async fn have_answered(&self, more: u64) -> anyhow::Result<()> {
        reach(|| self.acknowledged() + self.refused(), more, "answered").await
    }

    /// Waits for the answers to the last requests, and returns all operations.
    pub async fn stop(mut self) -> anyhow::Result<Vec<Operation>> {
        self.stop.send_replace(true);
        let mut operations = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            operations.extend(client.context("a client failed")?);
        }
        Ok(operations)
    }
}

async fn reach(reached: impl Fn() -> u64, more: u64, what: &str) -> anyhow::Result<()> {
    let goal = reached() + more;
    let began = Instant::now();
    while reached() < goal {
        if began.elapsed() > PATIENCE {
            bail!("of {goal} events only {} were {what} after {PATIENCE:?}", reached());
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn owned(urls: &[&str]) -> Vec<String> {
    urls.iter().map(|&url| url.to_owned()).collect()
}

/// Keeps one connection open and repeats no request by itself.
fn http_client() -> Client {
    Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .pool_max_idle_per_host(1)
        .retry(retry::never())
        .redirect(redirect::Policy::none())
        .build()
        .expect("a client without TLS and with constant settings can be built")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyPlace {
    Header,
    Parameter,
    /// Each line of a batch has its own.
    Lines,
}

struct TestClient {
    number: u32,
    rng: StdRng,
    http: Client,
    targets: watch::Receiver<Vec<String>>,
    has_spool: bool,
    sent: u64,
    protests: Vec<Operation>,
    /// Of its source.
    parts: Parts,
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
                let is_batch = self.rng.random_bool(mix.batches);
                let events = if is_batch { self.choose_batch(&mix) } else { vec![self.choose_event(&mix)] };
                let outcome = if is_batch && mix.sources > 0.0 && self.rng.random_bool(mix.sources) {
                    self.write_part(&mix, &events, &stop, &progress).await
                } else if self.rng.random_bool(mix.keyed) || mix.shards != ShardCount::ONE && events.len() > 1 {
                    self.write_once(&mix, &events, &stop, &progress).await
                } else {
                    let request = request(&self.http, &mix, &target, &events, None);
                    self.store(Asked::Store, &mix, &events, request).await
                };
                Action::Send { events, outcome }
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
        if mix.restores {
            // Its answer says whether the source was read again to its end.
            let (began, events) = (Instant::now(), self.choose_batch(&mix));
            let never = watch::channel(false).1;
            let last = timeout(PATIENCE, self.write_part(&mix, &events, &never, &progress)).await;
            let action = Action::Send { events, outcome: last.unwrap_or(Outcome::Unknown) };
            operations.push(Operation { client: self.number, began, ended: Instant::now(), action });
        }
        operations.append(&mut self.protests);
        operations
    }

    async fn read(&mut self, target: &str, mix: &Mix) -> Action {
        let at = mix.choose_instant(&mut self.rng);
        let site = mix.choose_site(&mut self.rng);
        let url = format!("{target}{ANALYTICS_PATH}?{}={}{}", Timestamp::PARAMETER, at.millis(), site.parameter());
        let answer = self.ask(Asked::Counts, self.http.get(url)).await;
        let counts = answer.ok().filter(|answer| answer.status == StatusCode::OK);
        let hour = SiteHour { hour: Hour::containing(at), site: site.id };
        Action::Read { hour, counts: counts.and_then(|answer| answer.body.parse().ok()) }
    }

    fn choose_batch(&mut self, mix: &Mix) -> Vec<SiteEvent> {
        let count = self.rng.random_range(1..=mix.batch_events);
        (0..count).map(|_| self.choose_event(mix)).collect()
    }

    /// Sends events under a key until they are acknowledged, to any daemon. Then it makes requests that must change
    /// nothing: the same events once more, or other events under the same key. The ledger has only the first ones, so
    /// it finds an event that is counted twice or stored under a used key. There is at most one daemon with a spool,
    /// so none may answer that the other events are stored (see "The spool's order" in docs/operate/reliability.md).
    async fn write_once(
        &mut self,
        mix: &Mix,
        events: &[SiteEvent],
        stop: &watch::Receiver<bool>,
        progress: &Progress,
    ) -> Outcome {
        let key = IdempotencyKey::new(format!("{}-{}", self.number, self.sent)).expect("digits make a key");
        let place = *[KeyPlace::Header, KeyPlace::Parameter, KeyPlace::Lines]
            .choose(&mut self.rng)
            .unwrap_or(&KeyPlace::Header);
        let mut worst = Outcome::Unsent;
        loop {
            let Some(target) = self.target().await else { return worst };
            let under_key =
                |http: &Client, events: &[SiteEvent]| request(http, mix, &target, events, Some((&key, place)));
            let first = under_key(&self.http, events);
            let outcome = self.store(Asked::Store, mix, events, first).await;
            match outcome {
                Outcome::Acknowledged | Outcome::Queued => {
                    let (mut again, mut asked) = (events.to_vec(), Asked::Store);
                    if self.rng.random_bool(0.5) {
                        // One changed event is a conflict, in the database that has the key.
                        again[0].event.user = neighbour(mix.shards, &again[0].event.user);
                        asked = Asked::StoreOthers;
                    }
                    if self.rng.random_bool(0.3) {
                        let more = under_key(&self.http, &again);
                        self.store(asked, mix, &again, more).await;
                    }
                    return outcome;
                }
                Outcome::Unknown => worst = Outcome::Unknown,
                Outcome::Refused if worst == Outcome::Unsent => worst = Outcome::Refused,
                Outcome::Refused | Outcome::Unsent => {}
            }
            if *stop.borrow() {
                return worst;
            }
            if outcome == Outcome::Refused {
                progress.refused.fetch_add(events.len() as u64, Ordering::Relaxed);
            }
            sleep(PAUSE_AFTER_FAILURE).await;
        }
    }

    /// Sends events as the next part of the client's source, to any daemon, until they are acknowledged. The source is
    /// read again from where it stands. Then other events may come as the same part: they must change nothing.
    async fn write_part(
        &mut self,
        mix: &Mix,
        events: &[SiteEvent],
        stop: &watch::Receiver<bool>,
        progress: &Progress,
    ) -> Outcome {
        let last = self.parts.push(events, mix.restores);
        let asked = if mix.restores { Asked::StoreNext } else { Asked::Store };
        let mut part = last;
        let mut worst = Outcome::Unsent;
        loop {
            let Some(target) = self.target().await else { return worst };
            let request = self.part_request(mix, &target, part, None);
            let answer = self.ask(asked, request).await;
            let outcome = match &answer {
                Ok(answer) if answer.status == StatusCode::CONFLICT => {
                    match answer.position().and_then(|position| self.parts.that_begins_at(position)) {
                        Some(first) => {
                            part = first;
                            sleep(PAUSE_AFTER_FAILURE).await;
                            continue;
                        }
                        None => Outcome::Unknown,
                    }
                }
                // Some databases may have stored what is theirs.
                Ok(answer) if answer.outcome() == Outcome::Refused => Outcome::Unknown,
                Ok(answer) => answer.outcome(),
                Err(unanswered) => *unanswered,
            };
            match outcome {
                Outcome::Acknowledged if part < last => {
                    part += 1;
                    continue;
                }
                Outcome::Acknowledged => {
                    if self.rng.random_bool(0.3) {
                        let mut others = events.to_vec();
                        others[0].event.user = neighbour(mix.shards, &others[0].event.user);
                        let request = self.part_request(mix, &target, part, Some(&others));
                        let _ = self.ask(asked, request).await;
                    }
                    return outcome;
                }
                Outcome::Unsent => {}
                Outcome::Queued | Outcome::Refused | Outcome::Unknown => worst = Outcome::Unknown,
            }
            if *stop.borrow() {
                return worst;
            }
            if answer.is_ok() {
                progress.refused.fetch_add(events.len() as u64, Ordering::Relaxed);
            }
            sleep(PAUSE_AFTER_FAILURE).await;
        }
    }

    /// With the events of the part, or with others in their place.
    fn part_request(&self, mix: &Mix, target: &str, part: usize, others: Option<&[SiteEvent]>) -> RequestBuilder {
        let (from, to, events) = self.parts.get(part);
        let mut lines = Vec::new();
        for SiteEvent { site, event } in others.unwrap_or(events) {
            write_line(event, None, mix.name_of(*site), &mut lines);
        }
        let source = format!("{}=client-{}", SourceName::PARAMETER, self.number);
        self.http.post(format!("{target}{BATCH_PATH}?{source}&from={from}&to={to}")).body(lines)
    }

    async fn store(&mut self, asked: Asked, mix: &Mix, events: &[SiteEvent], request: RequestBuilder) -> Outcome {
        match self.ask(asked, request).await {
            Ok(answer) => match answer.outcome() {
                Outcome::Refused if !mix.is_of_one_commit(events) => Outcome::Unknown,
                outcome => outcome,
            },
            Err(unanswered) => unanswered,
        }
    }

    /// Records a protest if the answer is not one that is promised.
    async fn ask(&mut self, asked: Asked, request: RequestBuilder) -> Result<Answer, Outcome> {
        let began = Instant::now();
        let unanswered = |error: reqwest::Error| if error.is_connect() { Outcome::Unsent } else { Outcome::Unknown };
        let response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        // Incomplete counts are no answer. For events, the status is enough.
        let body = match response.text().await {
            Err(_) if asked == Asked::Counts => return Err(Outcome::Unknown),
            body => body.unwrap_or_default(),
        };
        let answer = Answer { status, retry_after, body };
        if let Some(why) = answer.objection(asked, self.has_spool) {
            let action = Action::Protest { why };
            self.protests.push(Operation { client: self.number, began, ended: Instant::now(), action });
        }
        Ok(answer)
    }

    /// Any of the daemons; waits while there are none. None at the end.
    async fn target(&mut self) -> Option<String> {
        let urls = self.targets.wait_for(|urls| !urls.is_empty()).await.ok()?;
        urls.choose(&mut self.rng).cloned()
    }

    /// Some users come often, some are new to every client at about the same time, and some come once: their stored
    /// event can only be the one that was sent.
    fn choose_event(&mut self, mix: &Mix) -> SiteEvent {
        self.sent += 1;
        let name = match self.rng.random_range(0..10) {
            0..5 => format!("regular-{}", self.rng.random_range(0..20)),
            5..8 => format!("new-{}", self.sent / 20 * 20 + self.rng.random_range(0..20)),
            _ => format!("once-{}-{}", self.number, self.sent),
        };
        let event = Event {
            at: mix.choose_instant(&mut self.rng),
            user: UserName::new(name).expect("the name is short and has no NUL"),
            kind: if self.rng.random_bool(0.5) { EventKind::Click } else { EventKind::Impression },
        };
        SiteEvent { site: mix.choose_site(&mut self.rng).id, event }
    }
}

/// Another visitor, of the same database.
fn neighbour(shards: ShardCount, user: &UserName) -> UserName {
    let names = (0..).map(|number| if number == 0 { "conflict".to_owned() } else { format!("conflict-{number}") });
    let mut users = names.map(|name| UserName::new(name).expect("a word is a name"));
    users.find(|other| shards.shard_of(other) == shards.shard_of(user)).expect("numbers do not end")
}

fn request(
    http: &Client,
    mix: &Mix,
    target: &str,
    events: &[SiteEvent],
    key: Option<(&IdempotencyKey, KeyPlace)>,
) -> RequestBuilder {
    let id = key.filter(|(_, place)| *place == KeyPlace::Parameter).map_or("", |(key, _)| key.as_str());
    let id = if id.is_empty() { String::new() } else { format!("&{}={id}", IdempotencyKey::PARAMETER) };
    let request = if let [SiteEvent { site, event: Event { at, user, kind } }] = events {
        let site = mix.name_of(*site).map(|name| format!("&{}={name}", SiteName::PARAMETER)).unwrap_or_default();
        http.post(format!("{target}{ANALYTICS_PATH}?timestamp={}&user={user}&event={kind}{id}{site}", at.millis()))
    } else {
        let mut lines = Vec::new();
        for (n, SiteEvent { site, event }) in events.iter().enumerate() {
            let key = key.filter(|(_, place)| *place == KeyPlace::Lines);
            let key = key.and_then(|(key, _)| IdempotencyKey::new(format!("{key}.{n}")).ok());
            write_line(event, key.as_ref(), mix.name_of(*site), &mut lines);
        }
        http.post(format!("{target}{BATCH_PATH}?{id}")).body(lines)
    };
    match key {
        Some((key, KeyPlace::Header)) => request.header(IdempotencyKey::HEADER, key.as_str()),
        Some((key, KeyPlace::Lines)) if events.len() == 1 => request.header(IdempotencyKey::HEADER, key.as_str()),
        Some((_, KeyPlace::Parameter | KeyPlace::Lines)) | None => request,
    }
}
