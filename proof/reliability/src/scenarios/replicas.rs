//! Several daemons on one database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use harness::Daemon;
use model::{Hour, Timestamp};
use tokio::time::sleep;

use crate::{
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

const REPLICAS: usize = 3;
const MILLIS_PER_HOUR: i64 = 3_600_000;
/// How long the other daemons may take until one of them is the new settler.
const SUCCESSION: Duration = Duration::from_secs(10);
/// How long the clients work before they rest until the contested hour is settled, and the longest rest.
const WORK: Duration = Duration::from_millis(600);
const REST: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_mins(1);

/// Each request goes to any of three daemons, half of them for two past hours that are settled and reopened all the
/// time. Every read must be one that a single exact counter can give. Then the settler is killed, and the next one
/// too.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("three replicas, the settler killed");
    let server = options.start_server().await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    let mut daemons = Vec::new();
    for number in 0..REPLICAS {
        saboteur.make_superuser(&user(number)).await?;
        let url = server.url().replacen("postgres://analytics@", &format!("postgres://{}@", user(number)), 1);
        daemons.push((user(number), options.start_daemon(&url, &["--settle-after", "1ms"]).await));
    }

    let past = contested_hours()?;
    let mix = Mix {
        reads: 0.4,
        present: 0.4,
        others: past.to_vec(),
        batch_events: 20,
        // Only hours without recent writes are settled.
        pause: Duration::from_millis(30),
        ..Mix::usual()
    };
    let traffic = Traffic::start(options.seed, 0, 2 * options.clients, &mix, &urls(&daemons));
    let watcher = SettlingWatcher::start(server.url(), Hour::containing(past[0])).await?;
    let began = Instant::now();
    let mut at_work_since = began;
    while watcher.seen() < 3 || began.elapsed() < options.duration {
        let settlers = saboteur.settlers().await?;
        report.promise(settlers.len() <= 1, format_args!("{settlers:?} are settlers at the same time"));
        if began.elapsed() > options.duration + PATIENCE {
            report.broke(format_args!("the contested hour was settled {} times only", watcher.seen()));
            break;
        }
        if at_work_since.elapsed() > WORK {
            // On a slow machine, the hour needs a longer time without writes to be settled.
            traffic.point_at(&[]);
            let (seen, resting_since) = (watcher.seen(), Instant::now());
            while watcher.seen() == seen && resting_since.elapsed() < REST {
                sleep(Duration::from_millis(5)).await;
            }
            traffic.point_at(&urls(&daemons));
            at_work_since = Instant::now();
        }
        sleep(Duration::from_millis(20)).await;
    }

    while daemons.len() > 1 {
        let settler = some_settler(&saboteur).await?;
        let place =
            daemons.iter().position(|(name, _)| *name == settler).context("the settler is none of the daemons")?;
        let (_, daemon) = daemons.swap_remove(place);
        daemon.kill().await;
        traffic.point_at(&urls(&daemons));
        report.faults += 1;
        let killed = Instant::now();
        let successor = loop {
            let settlers = saboteur.settlers().await?;
            if let Some(next) = settlers.into_iter().find(|name| *name != settler) {
                break next;
            }
            anyhow::ensure!(killed.elapsed() < PATIENCE, "no daemon became settler after {settler}");
            sleep(Duration::from_millis(5)).await;
        };
        let took = killed.elapsed();
        report.promise(
            took <= SUCCESSION,
            format_args!("{successor} became settler {took:?} after {settler} was killed"),
        );
        report.notes.push(format!("the next settler took over after {} ms", took.as_millis()));
        traffic.acknowledge(100).await?;
    }
    report.notes.push(format!("a contested hour was seen settled {} times", watcher.seen()));

    let operations = traffic.stop().await?;
    let daemons: Vec<&Daemon> = daemons.iter().map(|(_, daemon)| daemon).collect();
    report.audit(server.store(), &saboteur, &daemons, &operations).await?;
    Ok(report)
}

fn user(number: usize) -> String {
    format!("replica_{number}")
}

fn urls(daemons: &[(String, Daemon)]) -> Vec<&str> {
    daemons.iter().map(|(_, daemon)| daemon.url()).collect()
}

/// Old enough to be settled.
fn contested_hours() -> anyhow::Result<[Timestamp; 2]> {
    let now = Timestamp::now().millis();
    let ago = |hours: i64| Timestamp::from_millis(now - hours * MILLIS_PER_HOUR);
    Ok([ago(5)?, ago(30)?])
}

async fn some_settler(saboteur: &Saboteur) -> anyhow::Result<String> {
    let began = Instant::now();
    loop {
        if let Some(settler) = saboteur.settlers().await?.pop() {
            return Ok(settler);
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "no daemon is the settler");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Counts how often an hour becomes settled.
struct SettlingWatcher {
    seen: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl SettlingWatcher {
    async fn start(url: &str, hour: Hour) -> anyhow::Result<Self> {
        let saboteur = Saboteur::connect(url).await?;
        let seen = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut was = false;
            while let Ok(is) = saboteur.is_settled(hour).await {
                counter.fetch_add(u64::from(is && !was), Ordering::Relaxed);
                was = is;
                sleep(Duration::from_millis(5)).await;
            }
        });
        Ok(Self { seen, task })
    }

    fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Drop for SettlingWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
