//! Connections that break during the commit of a batch.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    proxy::{Fault, Proxy},
    report::Report,
    traffic::{Mix, Traffic},
};

/// With each, the daemon gets no answer to its commit, or a late one.
const FAULTS: [Fault; 6] = [
    Fault::CutBeforeStatement,
    Fault::CutBeforeCommit,
    Fault::CutDuringCommit,
    Fault::CutBeforeReply,
    Fault::CutInReply,
    Fault::DelayReply(Duration::from_millis(300)),
];
/// So that each fault happens at a different moment of the load.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The connection breaks at every point of a commit, under load. The database is well, so the daemon must find out
/// the fate of the batch: every request is answered, and no answer is wrong.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("connection cut during the commit");
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = options.start_server().await?;
    let proxy = Proxy::start(server.url(), &server.socket()).await?;
    let daemon = options.start_daemon(proxy.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);
    traffic.acknowledge(100).await?;

    let began = Instant::now();
    while proxy.injected() < FAULTS.len() as u64 || began.elapsed() < options.duration {
        for fault in FAULTS {
            proxy.inject(fault).await?;
            sleep(LONGEST_PAUSE.mul_f64(rng.random())).await;
        }
    }
    traffic.acknowledge(100).await?;
    report.faults = proxy.injected();

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    let unknown = report.unknown;
    report.promise(unknown == 0, format_args!("{unknown} events were left unanswered while the database was well"));
    Ok(report)
}
