//! One hour, raced for by everything that can happen to an hour.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use db::{Ingested, SettleOutcome, Settler, Store, Writer};
use model::{Event, EventKind, Hour, Timestamp, UserName};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    history,
    ledger::Ledger,
    operation::{Action, Operation, Outcome},
    options::Options,
    postgres::Server,
    report::{Report, stored},
    sabotage::Saboteur,
};

const NAME: &str = "an hour under attack";
/// Any hour will do, but one on either side of midnight touches two partitions; this one ends at midnight.
const HOUR_START: i64 = 1_431_903_600_000;
const MILLIS_PER_HOUR: i64 = 3_600_000;
/// The most events in a batch.
const BATCH: usize = 12;
/// How often the hour must have been settled, at the least, for the race to have been one.
const FEWEST_SETTLED: u64 = 3;
/// How long that may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// The attack on a private server.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let server = Server::start(options).await?;
    let mut report = attack(options, server.store()).await?;
    let deadlocks = Saboteur::connect(server.url()).await?.deadlocks().await?;
    report.promise(deadlocks == 0, format_args!("the database broke {deadlocks} deadlocks"));
    Ok(report)
}

/// Writers, readers, a settler and those who reopen race for one hour and its neighbour. Each settling and reopening is a fault. No
/// read may be one that an exact counter could not have answered, nothing may be refused, and the aggregate must always equal the counters.
pub async fn attack(options: &Options, store: &Store) -> anyhow::Result<Report> {
    let mut report = Report::new(NAME);
    let race = Arc::new(Race {
        store: store.clone(),
        over: AtomicBool::new(false),
        settled: AtomicU64::new(0),
        reopened: AtomicU64::new(0),
    });
    let mut racers = JoinSet::new();
    for number in 0..options.clients {
        let rng = StdRng::seed_from_u64(options.seed ^ (u64::from(number) << 32));
        match number % 4 {
            0 | 1 => racers.spawn(Arc::clone(&race).run(write(Arc::clone(&race), number, rng))),
            2 => racers.spawn(Arc::clone(&race).run(read(Arc::clone(&race), number, rng))),
            _ => racers.spawn(Arc::clone(&race).run(reopen(Arc::clone(&race), number, rng))),
        };
    }
    racers.spawn(Arc::clone(&race).run(settle(Arc::clone(&race), options.clients)));

    let began = Instant::now();
    let long_enough = || began.elapsed() >= options.duration && race.settled.load(Ordering::Relaxed) >= FEWEST_SETTLED;
    while race.goes_on() && !long_enough() && began.elapsed() < options.duration + PATIENCE {
        sleep(Duration::from_millis(10)).await;
    }
    race.end();
    let mut operations = Vec::new();
    while let Some(racer) = racers.join_next().await {
        match racer.context("a racer failed")? {
            Ok(done) => operations.extend(done),
            Err(error) => report.broke(format_args!("{error:#}")),
        }
    }

    let (settled, reopened) = (race.settled.load(Ordering::Relaxed), race.reopened.load(Ordering::Relaxed));
    report.faults = settled + reopened;
    report.notes.push(format!("settled {settled} times, reopened {reopened} times"));
    report.promise(settled >= FEWEST_SETTLED, format_args!("the hour was settled {settled} times only"));
    let ledger = Ledger::of(&operations);
    report.note_totals(&ledger, &operations);
    let verdict = ledger.verdict(&stored(store).await?);
    (report.lost, report.phantoms) = (verdict.lost(), verdict.phantoms());
    report.promise(verdict.is_clean(), &verdict);
    for (hour, expected) in store.brute_force_counts().await? {
        let seen = store.counts(&[hour]).await?[0];
        report.promise(seen == expected, format_args!("{hour} counts {seen:?}, where the raw events are {expected:?}"));
    }
    for violation in history::violations(&operations) {
        report.broke(violation);
    }
    Ok(report)
}

/// The hour, and the one after it, which takes part in some batches.
fn hours() -> [Hour; 2] {
    [0, 1].map(|n| {
        let start = Timestamp::from_millis(HOUR_START + n * MILLIS_PER_HOUR);
        Hour::containing(start.expect("the year 2015 lies in the range"))
    })
}

struct Race {
    store: Store,
    over: AtomicBool,
    settled: AtomicU64,
    reopened: AtomicU64,
}

impl Race {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Lets one racer run, and ends the race for all if it fails.
    async fn run(
        self: Arc<Self>,
        racer: impl Future<Output = anyhow::Result<Vec<Operation>>>,
    ) -> anyhow::Result<Vec<Operation>> {
        let done = racer.await;
        if done.is_err() {
            self.end();
        }
        done
    }
}

/// Stores batches as the daemon does, and now and then takes a rest, so that there is something to settle.
async fn write(race: Arc<Race>, client: u32, mut rng: StdRng) -> anyhow::Result<Vec<Operation>> {
    let mut writer = Writer::new(race.store.clone());
    let mut operations = Vec::new();
    let mut sent = 0;
    while race.goes_on() {
        let count = rng.random_range(1..=BATCH);
        let events: Vec<Event> = (0..count).map(|_| choose_event(&mut rng, &mut sent, client)).collect();
        let began = Instant::now();
        let outcome = store_all(&race, &mut writer, &events, client, &mut operations).await?;
        operations.push(Operation { client, began, ended: Instant::now(), action: Action::Send { events, outcome } });
        let pause = if rng.random_bool(0.2) { rng.random_range(20..120) } else { rng.random_range(0..4) };
        sleep(Duration::from_millis(pause)).await;
    }
    Ok(operations)
}

async fn store_all(
    race: &Race,
    writer: &mut Writer,
    events: &[Event],
    client: u32,
    operations: &mut Vec<Operation>,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        // Nothing is broken on purpose here, so nothing may be refused.
        match writer.ingest(events).await.context("storing events")? {
            Ingested::Stored => return Ok(Outcome::Acknowledged),
            Ingested::Blocked { settled, .. } => {
                for hour in settled {
                    let began = Instant::now();
                    race.store.reopen(hour).await.context("reopening for an event")?;
                    operations.push(disturbed(client, hour, began, "reopened for an event"));
                    race.reopened.fetch_add(1, Ordering::Relaxed);
                }
            }
            claimed @ Ingested::Claimed { .. } => bail!("{claimed:?} although nothing is claimed"),
        }
    }
    bail!("a batch was kept from being stored for {PATIENCE:?} by hours that were settled again and again")
}

async fn read(race: Arc<Race>, client: u32, mut rng: StdRng) -> anyhow::Result<Vec<Operation>> {
    let mut operations = Vec::new();
    while race.goes_on() {
        let hour = hours()[rng.random_range(0..2)];
        let began = Instant::now();
        let counts = race.store.counts(&[hour]).await.context("reading counts")?.first().copied();
        operations.push(Operation { client, began, ended: Instant::now(), action: Action::Read { hour, counts } });
        sleep(Duration::from_millis(rng.random_range(0..5))).await;
    }
    Ok(operations)
}

/// Reopens, whether there is an event or not.
async fn reopen(race: Arc<Race>, client: u32, mut rng: StdRng) -> anyhow::Result<Vec<Operation>> {
    let mut operations = Vec::new();
    while race.goes_on() {
        let hour = hours()[rng.random_range(0..2)];
        let began = Instant::now();
        race.store.reopen(hour).await.context("reopening")?;
        operations.push(disturbed(client, hour, began, "reopened"));
        sleep(Duration::from_millis(rng.random_range(0..60))).await;
    }
    Ok(operations)
}

/// Settles the hours without waiting for them to be quiet.
async fn settle(race: Arc<Race>, client: u32) -> anyhow::Result<Vec<Operation>> {
    let settler = Settler::elect(&race.store).await?.context("somebody else settles here")?;
    let mut operations = Vec::new();
    while race.goes_on() {
        for hour in hours() {
            let began = Instant::now();
            match settler.settle(hour).await.context("settling")? {
                SettleOutcome::Settled => {
                    race.settled.fetch_add(1, Ordering::Relaxed);
                    operations.push(disturbed(client, hour, began, "settled"));
                }
                SettleOutcome::NotOpen | SettleOutcome::Busy => {}
                SettleOutcome::Differs { counters, aggregate } => {
                    bail!("{hour} counts {counters:?}, where its aggregate is {aggregate:?} and nothing came in");
                }
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(operations)
}

fn disturbed(client: u32, hour: Hour, began: Instant, what: &'static str) -> Operation {
    Operation { client, began, ended: Instant::now(), action: Action::Disturb { hour, what } }
}

/// Writers meet at the same users, who are new to all of them at about the same time.
fn choose_event(rng: &mut StdRng, sent: &mut u64, client: u32) -> Event {
    *sent += 1;
    let name = match rng.random_range(0..4) {
        0 => format!("regular-{}", rng.random_range(0..5)),
        1 | 2 => format!("new-{}", *sent / 8 * 8 + rng.random_range(0..8)),
        _ => format!("once-{client}-{sent}"),
    };
    let millis = HOUR_START + rng.random_range(0..MILLIS_PER_HOUR * 5 / 4);
    Event {
        at: Timestamp::from_millis(millis).expect("the year 2015 lies in the range"),
        user: UserName::new(name).expect("the name is short and has no NUL"),
        kind: if rng.random_bool(0.5) { EventKind::Click } else { EventKind::Impression },
    }
}
