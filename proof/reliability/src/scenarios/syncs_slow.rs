//! A database whose disk is slow to sync.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    operation::{Action, Operation},
    options::Options,
    report::{Report, slowest},
    sabotage::Saboteur,
    tracer::{Sync, Tracer},
    traffic::{Mix, Traffic},
};

const NAME: &str = "slow fsync of the database";
/// The number of acknowledged events between two faults, and during one.
const EVENTS_BETWEEN: u64 = 200;
const EVENTS_DURING: u64 = 50;
/// The slowest sync while all are slow.
const SLOWEST: Duration = Duration::from_millis(400);
/// One sync that takes longer than a statement may.
const STALL: Duration = Duration::from_secs(12);
const READERS: u32 = 4;
/// A read that waits for no write is answered far sooner.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Every sync of every process of the server takes a part of a second for a while. Then those of the daemon's commits
/// take longer than a statement may: events wait or are refused, and reads are answered.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    if let Err(why) = Tracer::try_out().await {
        return Ok(Report::skipped(NAME, format!("strace cannot trace processes here: {why:#}")));
    }
    let mut report = Report::new(NAME);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = options.start_server().await?;
    let daemon = options.start_daemon(server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);
    let saboteur = Saboteur::connect(server.url()).await?;

    let began = Instant::now();
    let mut read: Vec<Operation> = Vec::new();
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let delay = SLOWEST.mul_f64(rng.random());
        let slow = Tracer::attach(&saboteur.processes().await?, Sync::Slow(delay)).await?;
        traffic.acknowledge(EVENTS_DURING).await?;
        slow.detach().await?;
        traffic.acknowledge(EVENTS_BETWEEN).await?;

        let stalled = Tracer::attach(&saboteur.daemons_processes().await?, Sync::Slow(STALL)).await?;
        let generation = 1 + u32::try_from(report.faults)?;
        let only_reads = Mix { reads: 1.0, ..Mix::usual() };
        let readers = Traffic::start(options.seed, generation, READERS, &only_reads, &[daemon.url()]);
        sleep(STALL).await;
        read.extend(readers.stop().await?);
        stalled.detach().await?;
        report.faults += 2;
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let unread = read.iter().filter(|o| matches!(o.action, Action::Read { counts: None, .. })).count();
    report.promise(unread == 0, format_args!("{unread} reads failed while only syncs were slow"));
    let waited = slowest(&read);
    report.promise(waited <= READ_LIMIT, format_args!("a read took {waited:?} while only syncs were slow"));
    report.notes.push(format!("{} reads while syncs stalled, the slowest {} ms", read.len(), waited.as_millis()));
    let mut operations = traffic.stop().await?;
    operations.extend(read);
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    Ok(report)
}
