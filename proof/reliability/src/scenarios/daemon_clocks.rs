//! Daemons whose own clocks are wrong, and change.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use harness::Daemon;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

const NAME: &str = "clock steps of daemons";
/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 200;
/// How far a clock is moved, in seconds: an hour is another one, a day is, or nearly nothing is.
const STEPS: [i64; 7] = [1, 59, 3_600, 7_200, 86_400, 3 * 86_400, 400 * 86_400];

/// The clocks of two daemons are moved back and forth under load, each for itself. The clients' clocks are right.
/// Hours are settled early or late, and counted exactly; no event is refused.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let Some(library) = faketime() else {
        return Ok(Report::skipped(NAME, "faketime is not installed (on Debian: apt-get install faketime)"));
    };
    let mut report = Report::new(NAME);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = options.start_server().await?;
    let dir = harness::server_dir();
    let clocks = ["one", "other"].map(|name| dir.path().join(name));
    let mut daemons = Vec::new();
    for clock in &clocks {
        fs::write(clock, "+0")?;
        daemons.push(start(options, server.url(), library, clock).await);
    }
    let urls = [daemons[0].url(), daemons[1].url()];
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &urls);

    let began = Instant::now();
    while report.faults < 2 * STEPS.len() as u64 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let step = STEPS.choose(&mut rng).copied().unwrap_or_default();
        let step = if rng.random_bool(0.5) { step } else { -step };
        set(&clocks[rng.random_range(0..2)], step)?;
        report.faults += 1;
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let operations = traffic.stop().await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemons[0], &daemons[1]], &operations).await?;
    let refused = report.refused;
    report.promise(refused == 0, format_args!("{refused} events were refused, though only clocks were wrong"));
    Ok(report)
}

/// The library of Debian's package `faketime`.
fn faketime() -> Option<&'static str> {
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"]
        .into_iter()
        .find(|library| Path::new(library).exists())
}

/// The daemon reads its clock from a file, and its monotonic clock from the system.
async fn start(options: &Options, url: &str, library: &str, clock: &Path) -> Daemon {
    let mut command = Daemon::command();
    command.args(["--database-url", url, "--allow-anonymous", "--log", &options.daemon_log]);
    command.args(["--settle-after", "10ms"]);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", clock);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Daemon::start_command(command).await
}

/// So many seconds from the right time.
fn set(clock: &PathBuf, seconds: i64) -> anyhow::Result<()> {
    let unfinished = clock.with_extension("new");
    fs::write(&unfinished, format!("{seconds:+}s"))?;
    Ok(fs::rename(&unfinished, clock)?)
}
