//! The daemon's connections to the database, ended one by one.

use std::time::{Duration, Instant};

use harness::PrivateServer;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// Between two kills.
const LONGEST_PAUSE: Duration = Duration::from_millis(40);
/// The fewest kills.
const FEWEST: u64 = 50;

/// `pg_terminate_backend` on the daemon's connections at random, under load. The database is well, so the daemon must
/// find out every fate.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let server = options.start_server().await?;
    kill_under_load(Report::new("pg_terminate_backend at random"), options, &server, server.url()).await
}

/// The same for a daemon that reaches the server at this URL.
pub(super) async fn kill_under_load(
    mut report: Report,
    options: &Options,
    server: &PrivateServer,
    database_url: &str,
) -> anyhow::Result<Report> {
    let mut rng = StdRng::seed_from_u64(options.seed);
    let saboteur = Saboteur::connect(server.url()).await?;
    let daemon = options.start_daemon(database_url, &["--settle-after", "10ms"]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);
    traffic.acknowledge(100).await?;

    let began = Instant::now();
    while report.faults < FEWEST || began.elapsed() < options.duration {
        report.faults += u64::from(saboteur.terminate_a_connection().await?);
        sleep(LONGEST_PAUSE.mul_f64(rng.random())).await;
    }
    traffic.acknowledge(100).await?;

    report.stop_and_audit(traffic, server, &[&daemon]).await?;
    let unknown = report.unknown;
    report.promise(unknown == 0, format_args!("{unknown} events were left unanswered while the database was well"));
    Ok(report)
}
