//! The server's side of connections through pgpool-II, ended one by one.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    pgpool::Pgpool,
    postgres::Server,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The longest that passes between two kills.
const LONGEST_PAUSE: Duration = Duration::from_millis(40);
/// How many connections are ended at least.
const FEWEST: u64 = 50;

/// As `connections_killed`, through a proxy that tells of the end of a connection in words of its own, and goes on with another.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    const NAME: &str = "pg_terminate_backend behind pgpool-II";
    if !Pgpool::is_there() {
        return Ok(Report::skipped(NAME, "pgpool-II is not installed (on Debian: apt-get install pgpool2)"));
    }
    let mut report = Report::new(NAME);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = Server::start(options).await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    let pgpool = Pgpool::start(server.url(), &server.socket()?).await?;
    let daemon = options.start_daemon(pgpool.url(), &["--settle-after", "10ms"]).await;
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
