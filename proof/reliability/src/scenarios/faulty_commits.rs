//! Traffic while a proxy harms commits. The database is well, so the daemon must find out the fate of each batch: every
//! request is answered, and no answer is wrong.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    proxy::{Fault, Proxy},
    report::Report,
    traffic::{Mix, Traffic},
};

/// Injects what `round` returns, again and again, with pauses up to the longest, so that each fault happens at a
/// different moment of the load.
pub(super) async fn run(
    options: &Options,
    name: &'static str,
    longest_pause: Duration,
    mut round: impl FnMut(&mut StdRng) -> Vec<Fault>,
) -> anyhow::Result<Report> {
    let mut report = Report::new(name);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = options.start_server().await?;
    let proxy = Proxy::start(server.url(), &server.socket()).await?;
    let daemon = options.start_daemon(proxy.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);
    traffic.acknowledge(100).await?;

    let began = Instant::now();
    loop {
        let faults = round(&mut rng);
        let least = faults.len() as u64;
        for fault in faults {
            proxy.inject(fault).await?;
            sleep(longest_pause.mul_f64(rng.random())).await;
        }
        if proxy.injected() >= least && began.elapsed() >= options.duration {
            break;
        }
    }
    traffic.acknowledge(100).await?;
    report.faults = proxy.injected();

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    let unknown = report.unknown;
    report.promise(unknown == 0, format_args!("{unknown} events were left unanswered while the database was well"));
    Ok(report)
}
