//! One hour of several sites, raced for by everything that can happen to an hour.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use db::{Ingested, SettleOutcome, Settler, Store, Writer};
use model::{Event, EventKind, Hour, SiteEvent, SiteHour, SiteId, Timestamp, UserName};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    history,
    operation::{Action, Operation, Outcome},
    options::Options,
    report::Report,
    sabotage::Saboteur,
};

const NAME: &str = "an hour under attack";
/// This hour ends at midnight, so that the next one is in another partition.
const HOUR_START: i64 = 1_431_903_600_000;
const MILLIS_PER_HOUR: i64 = 3_600_000;
const BATCH: usize = 12;
/// Visitors have the same names in all of them.
const SITES: [i32; 3] = [0, 1, 2];
/// How often the hour must be settled at least.
const FEWEST_SETTLED: u64 = 3;
const PATIENCE: Duration = Duration::from_mins(2);

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let server = options.start_server().await?;
    let mut report = attack(options, server.store()).await?;
    let deadlocks = Saboteur::connect(server.url()).await?.deadlocks().await?;
    report.promise(deadlocks == 0, format_args!("the database broke {deadlocks} deadlocks"));
    Ok(report)
}

/// Writers, readers, a settler and reopeners race for one hour and the next. Each settling and reopening is a fault.
/// Every read must be one that an exact counter can give, no write may be refused, and the aggregate must always
/// equal the counters.
pub async fn attack(options: &Options, store: &Store) -> anyhow::Result<Report> {
    let mut report = Report::new(NAME);
    let race = Arc::new(Race {
        store: store.clone(),
        over: AtomicBool::new(false),
        failed: OnceLock::new(),
        settled: AtomicU64::new(0),
        reopened: AtomicU64::new(0),
        operations: Mutex::default(),
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
    while let Some(racer) = racers.join_next().await {
        if let Err(error) = racer.context("a racer failed")? {
            report.broke(format_args!("{error:#}"));
        }
    }
    let operations = std::mem::take(&mut *race.operations.lock().unwrap_or_else(PoisonError::into_inner));

    let (settled, reopened) = (race.settled.load(Ordering::Relaxed), race.reopened.load(Ordering::Relaxed));
    report.faults = settled + reopened;
    report.notes.push(format!("settled {settled} times, reopened {reopened} times"));
    report.promise(settled >= FEWEST_SETTLED, format_args!("the hour was settled {settled} times only"));
    report.audit_database(store, &operations).await?;
    if !report.broken.is_empty() {
        let until = race.failed.get().copied().unwrap_or_else(Instant::now);
        for it in site_hours() {
            report.broke(format_args!("the last of the race for {it}:{}", history::story(&operations, it, until)));
        }
    }
    Ok(report)
}

/// The hour, and the next one, which some batches touch.
fn hours() -> [Hour; 2] {
    [0, 1].map(|n| {
        let start = Timestamp::from_millis(HOUR_START + n * MILLIS_PER_HOUR);
        Hour::containing(start.expect("the year 2015 lies in the range"))
    })
}

fn sites() -> [SiteId; 3] {
    SITES.map(|number| SiteId::new(number).expect("it is not negative"))
}

fn site_hours() -> impl Iterator<Item = SiteHour> {
    hours().into_iter().flat_map(|hour| sites().map(|site| SiteHour { hour, site }))
}

struct Race {
    store: Store,
    over: AtomicBool,
    failed: OnceLock<Instant>,
    settled: AtomicU64,
    reopened: AtomicU64,
    /// Of all racers, also of those that failed.
    operations: Mutex<Vec<Operation>>,
}

impl Race {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn note(&self, client: u32, began: Instant, action: Action) {
        let operation = Operation { client, began, ended: Instant::now(), action };
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    /// Ends the race for all if this racer fails.
    async fn run(self: Arc<Self>, racer: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        let done = racer.await;
        if done.is_err() {
            self.failed.get_or_init(Instant::now);
            self.end();
        }
        done
    }
}

/// Stores batches as the daemon does, and pauses now and then, so that hours can be settled.
async fn write(race: Arc<Race>, client: u32, mut rng: StdRng) -> anyhow::Result<()> {
    let mut writer = Writer::new(race.store.clone());
    let mut sent = 0;
    while race.goes_on() {
        let count = rng.random_range(1..=BATCH);
        let events: Vec<SiteEvent> = (0..count).map(|_| choose_event(&mut rng, &mut sent, client)).collect();
        let began = Instant::now();
        let stored = store_all(&race, &mut writer, &events, client).await;
        let outcome = if stored.is_ok() { Outcome::Acknowledged } else { Outcome::Unknown };
        race.note(client, began, Action::Send { events, outcome });
        stored?;
        let pause = if rng.random_bool(0.2) { rng.random_range(20..120) } else { rng.random_range(0..4) };
        sleep(Duration::from_millis(pause)).await;
    }
    Ok(())
}

async fn store_all(race: &Race, writer: &mut Writer, events: &[SiteEvent], client: u32) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        // There are no faults here, so nothing may be refused.
        match writer.ingest(events).await.context("storing events")? {
            Ingested::Stored => return Ok(()),
            Ingested::Blocked { settled, .. } => {
                for (hour, sites) in SiteHour::by_hour(settled) {
                    let began = Instant::now();
                    race.store.reopen(hour, &sites).await.context("reopening for an event")?;
                    race.reopened.fetch_add(sites.len() as u64, Ordering::Relaxed);
                    for site in sites {
                        let hour = SiteHour { hour, site };
                        race.note(client, began, Action::Disturb { hour, what: "reopened for an event" });
                    }
                }
            }
            claimed @ (Ingested::Claimed { .. } | Ingested::Moved(_)) => bail!("{claimed:?}, but no key is claimed"),
        }
    }
    bail!("a batch was not stored for {PATIENCE:?}, because its hours were settled again and again")
}

async fn read(race: Arc<Race>, client: u32, mut rng: StdRng) -> anyhow::Result<()> {
    while race.goes_on() {
        let hour = SiteHour { hour: hours()[rng.random_range(0..2)], site: sites()[rng.random_range(0..3)] };
        let began = Instant::now();
        let counts = race.store.counts(&[hour]).await.context("reading counts")?.first().copied();
        race.note(client, began, Action::Read { hour, counts });
        sleep(Duration::from_millis(rng.random_range(0..5))).await;
    }
    Ok(())
}

/// Reopens without an event.
async fn reopen(race: Arc<Race>, client: u32, mut rng: StdRng) -> anyhow::Result<()> {
    while race.goes_on() {
        let hour = hours()[rng.random_range(0..2)];
        let chosen: Vec<SiteId> = sites().into_iter().filter(|_| rng.random_bool(0.5)).collect();
        let began = Instant::now();
        race.store.reopen(hour, &chosen).await.context("reopening")?;
        for site in chosen {
            race.note(client, began, Action::Disturb { hour: SiteHour { hour, site }, what: "reopened" });
        }
        sleep(Duration::from_millis(rng.random_range(0..60))).await;
    }
    Ok(())
}

/// Settles the hours without waiting for a pause in the writes.
async fn settle(race: Arc<Race>, client: u32) -> anyhow::Result<()> {
    let settler = Settler::elect(&race.store).await?.context("another settler is active")?;
    while race.goes_on() {
        for hour in hours() {
            let began = Instant::now();
            for (site, outcome) in settler.settle(hour, &sites()).await.context("settling")? {
                let hour = SiteHour { hour, site };
                match outcome {
                    SettleOutcome::Settled => {
                        race.settled.fetch_add(1, Ordering::Relaxed);
                        race.note(client, began, Action::Disturb { hour, what: "settled" });
                    }
                    SettleOutcome::Busy => {}
                    SettleOutcome::Differs { counters, aggregate, visitors } => {
                        race.note(client, began, Action::Disturb { hour, what: "found to differ" });
                        bail!(
                            "{hour} counts {counters:?}, but its aggregate is {aggregate:?}, and {visitors} visitors are in its set, without an event in between"
                        );
                    }
                }
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Writers share users, who are new to all writers at about the same time.
fn choose_event(rng: &mut StdRng, sent: &mut u64, client: u32) -> SiteEvent {
    *sent += 1;
    let name = match rng.random_range(0..4) {
        0 => format!("regular-{}", rng.random_range(0..5)),
        1 | 2 => format!("new-{}", *sent / 8 * 8 + rng.random_range(0..8)),
        _ => format!("once-{client}-{sent}"),
    };
    let millis = HOUR_START + rng.random_range(0..MILLIS_PER_HOUR * 5 / 4);
    let event = Event {
        at: Timestamp::from_millis(millis).expect("the year 2015 lies in the range"),
        user: UserName::new(name).expect("the name is short and has no NUL"),
        kind: if rng.random_bool(0.5) { EventKind::Click } else { EventKind::Impression },
    };
    SiteEvent { site: sites()[rng.random_range(0..3)], event }
}
