//! Connections that die while a batch is being committed.

use std::time::{Duration, Instant};

use anyhow::bail;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    postgres::Server,
    proxy::{Fault, Proxy},
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// Each leaves the daemon without the answer to its commit, or with a late one.
const FAULTS: [Fault; 6] = [
    Fault::CutBeforeStatement,
    Fault::CutBeforeCommit,
    Fault::CutDuringCommit,
    Fault::CutBeforeReply,
    Fault::CutInReply,
    Fault::DelayReply(Duration::from_millis(300)),
];
/// How long a fault may wait for a statement that it can happen to.
const PATIENCE: Duration = Duration::from_mins(1);
/// Gives each fault a different moment of the load.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The connection dies at every point of a commit, under load. The database is well, so the daemon can find out what became of the batch,
/// and must: every request is answered, and no answer is wrong.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("connection cut during the commit");
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = Server::start(options).await?;
    let proxy = Proxy::start(server.url(), &server.socket()?).await?;
    let daemon = options.start_daemon(proxy.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);
    traffic.acknowledge(100).await?;

    let began = Instant::now();
    while proxy.injected() < FAULTS.len() as u64 || began.elapsed() < options.duration {
        for fault in FAULTS {
            let before = proxy.injected();
            let armed = Instant::now();
            proxy.arm(fault);
            while proxy.injected() == before {
                if armed.elapsed() > PATIENCE {
                    bail!("no statement that stores events came by within {PATIENCE:?} for {fault:?}");
                }
                sleep(Duration::from_millis(1)).await;
            }
            sleep(LONGEST_PAUSE.mul_f64(rng.random())).await;
        }
    }
    traffic.acknowledge(100).await?;
    report.faults = proxy.injected();

    let operations = traffic.stop().await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    let unknown = report.unknown;
    report.promise(unknown == 0, format_args!("{unknown} events were left unanswered while the database was well"));
    Ok(report)
}
