//! A server whose processes stand still for a while, as on a machine that is paused or has no CPU time.

use std::time::{Duration, Instant};

use db::schema;
use tokio::time::sleep;

use crate::{
    cluster::{Node, Place, store},
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// Longer than a statement may take.
const FREEZE: Duration = Duration::from_secs(12);
/// How long the server gets little CPU time, and how it is shared out.
const STARVATION: Duration = Duration::from_secs(4);
const RUNS: Duration = Duration::from_millis(20);
const STANDS: Duration = Duration::from_millis(180);

/// Every process of the server is stopped with SIGSTOP under load, and goes on after the daemon has given its
/// statements up. Then the server runs for a tenth of the time.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("database stands still");
    let server = Node::primary(options, Place::on_loopback()?).await?;
    let store = store(&server.url())?;
    schema::migrate(&store, None).await?;
    let daemon = options.start_daemon(&server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        server.freeze().await?;
        sleep(FREEZE).await;
        server.thaw().await?;
        traffic.acknowledge(EVENTS_BETWEEN).await?;

        let starved = Instant::now();
        while starved.elapsed() < STARVATION {
            server.freeze().await?;
            sleep(STANDS).await;
            server.thaw().await?;
            sleep(RUNS).await;
        }
        report.faults += 2;
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let operations = traffic.stop().await?;
    report.audit(&store, &Saboteur::connect(&server.url()).await?, &[&daemon], &operations).await?;
    Ok(report)
}
