//! Several times more clients than the daemon serves at a time.

use std::{fs, time::Duration};

use anyhow::Context;
use harness::Daemon;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    crowd::Crowd,
    operation::{Operation, Outcome},
    options::Options,
    report::Report,
    sabotage::Saboteur,
};

const NAME: &str = "five times more clients than places";
const CLIENTS: u32 = 4_000;
const PLACES: &str = "800";
/// A client of the crowd closes its connection after this many requests, so that all get a turn.
const STAY: u32 = 50;
/// These clients measure the throughput before and after.
const CALM_CLIENTS: u32 = 32;
/// They have the numbers below this one.
const CALM_NUMBERS: u32 = 1_000;
/// The longest measurement.
const CALM: Duration = Duration::from_secs(5);
/// Before the first measurement.
const WARM_UP: Duration = Duration::from_millis(500);
/// How many files this process opens besides the crowd's connections.
const OTHER_FILES: u64 = 512;

/// The bounds that docs/operate/faults.md states. The machine carries the clients and the database as well.
const SERVED_P99: Duration = Duration::from_secs(5);
const REFUSED_P99: Duration = Duration::from_secs(3);
const MEMORY_MIB: u64 = 64;
const LEAST_LEFT: f64 = 0.5;
/// For the comparison with a fresh daemon, on a machine that is also used by others.
const PATIENCE: Duration = Duration::from_secs(30);

/// A few clients, then a crowd of several times more than the connection limit, then a few again. Accepted clients
/// are served soon, the others are refused at once and store nothing, and afterwards the throughput is as before.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let files = u64::from(CLIENTS) + OTHER_FILES;
    let may_open = rlimit::increase_nofile_limit(files).context("cannot read the limit of open files")?;
    if may_open < files {
        return Ok(Report::skipped(
            NAME,
            format!("this process may open {may_open} files and needs {files}: ulimit -Hn {files}"),
        ));
    }
    let mut report = Report::new(NAME);
    let server = options.start_server().await?;
    let daemon = options.start_daemon(server.url(), &["--max-connections", PLACES]).await;
    let calm_span = CALM.min(options.duration / 2);

    let mut load = Load { options, operations: Vec::new(), clients: 0 };
    load.calm(WARM_UP, &daemon).await?;
    let before = load.calm(calm_span, &daemon).await?;
    let crowd = Crowd::start(options.seed, CALM_NUMBERS, CLIENTS, Some(STAY), daemon.url())?;
    sleep(options.duration).await;
    let crowd = crowd.stop().await?;
    report.faults += 1;
    let after = load.calm(calm_span, &daemon).await?;
    report.notes.push(format!("{before:.0} events/s from {CALM_CLIENTS} clients before, {after:.0} after"));

    let (mut expected, mut reached) = (before, after);
    if reached < LEAST_LEFT * expected {
        // Other programs may have slowed down the machine. A fresh daemon shows the throughput that is possible now.
        let fresh = options.start_daemon(server.url(), &[]).await;
        load.calm(WARM_UP, &fresh).await?;
        let began = Instant::now();
        while reached < LEAST_LEFT * expected && began.elapsed() < PATIENCE {
            expected = load.calm(calm_span, &fresh).await?;
            reached = load.calm(calm_span, &daemon).await?;
        }
        report.notes.push(format!("then {expected:.0} events/s through a fresh daemon, {reached:.0} through the old"));
    }
    report.promise(
        reached >= LEAST_LEFT * expected,
        format_args!("after the overload {reached:.0} events/s were stored, and {expected:.0} are possible"),
    );
    check_waits(&mut report, &crowd);
    check_memory(&mut report, &daemon);

    let operations = [load.operations, crowd].concat();
    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    let unknown = report.unknown;
    report.promise(unknown == 0, format_args!("{unknown} events got no answer"));
    Ok(report)
}

/// The few clients.
struct Load<'a> {
    options: &'a Options,
    operations: Vec<Operation>,
    /// So far, so that no two have the same number.
    clients: u32,
}

impl Load<'_> {
    /// Returns the acknowledged events per second.
    async fn calm(&mut self, span: Duration, daemon: &Daemon) -> anyhow::Result<f64> {
        let end = Instant::now() + span;
        let crowd = Crowd::start(self.options.seed, self.clients, CALM_CLIENTS, None, daemon.url())?;
        self.clients += CALM_CLIENTS;
        sleep_until(end).await;
        let operations = crowd.stop().await?;
        let in_time = |o: &&Operation| o.outcome() == Some(Outcome::Acknowledged) && o.ended <= end.into_std();
        let acknowledged = u32::try_from(operations.iter().filter(in_time).count())?;
        self.operations.extend(operations);
        Ok(f64::from(acknowledged) / span.as_secs_f64())
    }
}

fn check_waits(report: &mut Report, crowd: &[Operation]) {
    for (outcome, what, bound) in
        [(Outcome::Acknowledged, "acknowledged", SERVED_P99), (Outcome::Refused, "refused", REFUSED_P99)]
    {
        let mut waits: Vec<Duration> =
            crowd.iter().filter(|o| o.outcome() == Some(outcome)).map(Operation::took).collect();
        waits.sort_unstable();
        let (Some(&p50), Some(&p99), Some(&most)) =
            (waits.get(waits.len() / 2), waits.get(waits.len() * 99 / 100), waits.last())
        else {
            report.broke(format_args!("there was no overload: no event was {what}"));
            continue;
        };
        report.promise(p99 <= bound, format_args!("of {} events {what}, 1 % waited more than {p99:?}", waits.len()));
        report.notes.push(format!(
            "{} {what} after {} ms (p50), {} ms (p99), {} ms at most",
            waits.len(),
            p50.as_millis(),
            p99.as_millis(),
            most.as_millis()
        ));
    }
}

/// Only on Linux.
fn check_memory(report: &mut Report, daemon: &Daemon) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    match peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok()) {
        Some(kib) => {
            report.promise(kib <= MEMORY_MIB * 1024, format_args!("the daemon took {kib} KiB of memory"));
            report.notes.push(format!("{} MiB of memory at most", kib.div_ceil(1024)));
        }
        None => report.notes.push("memory not measured here".to_owned()),
    }
}
