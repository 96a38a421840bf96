//! The daemon's connections to the database, ended one by one.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    postgres::Server,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The longest that passes between two kills.
const LONGEST_PAUSE: Duration = Duration::from_millis(40);
/// How many connections are ended at least.
const FEWEST: u64 = 50;

/// `pg_terminate_backend` on the daemon's connections at random, under load. The database is well, so every fate can be found out.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let server = Server::start(options).await?;
    kill_under_load(Report::new("pg_terminate_backend at random"), options, &server, server.url()).await
}

/// The same for a daemon that reaches the server at this URL.
pub(super) async fn kill_under_load(
    mut report: Report,
    options: &Options,
    server: &Server,
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

    let operations = traffic.stop().await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    let unknown = report.unknown;
    report.promise(unknown == 0, format_args!("{unknown} events were left unanswered while the database was well"));
    Ok(report)
}
