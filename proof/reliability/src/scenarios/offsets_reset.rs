//! Offsets of the consumer group that somebody sets.

use std::time::Instant;

use harness::Kafka;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    options::Options,
    report::Report,
    topic_traffic::{Counts, TopicTraffic},
};

const NAME: &str = "offsets of the consumer group set";
/// The number of stored messages between two faults.
const MESSAGES_BETWEEN: u64 = 500;

/// While no daemon runs, each offset of the group is set to the beginning, to the end, behind the end, or anywhere between.
/// Producers go on sending meanwhile.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let Some(kafka) = Kafka::start().await else {
        return Ok(Report::skipped(NAME, "no broker is installed"));
    };
    let mut report = Report::new(NAME);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = options.start_server().await?;
    let traffic = TopicTraffic::start(options, &kafka, Counts::NeverFall).await?;
    let mut daemon = traffic.start_daemon(options, server.url()).await;
    traffic.point_at([&daemon]);

    let began = Instant::now();
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.store(server.url(), MESSAGES_BETWEEN).await?;
        traffic.point_at([]);
        let status = daemon.terminate().await;
        report.promise(status.success(), format_args!("the daemon was asked to stop and ended with {status}"));
        for (partition, end) in traffic.ends() {
            let kind = report.faults + u64::try_from(partition)?;
            let offset = match kind % 4 {
                0 => 0,
                1 => end,
                2 => end + 1_000,
                _ => rng.random_range(0..=end),
            };
            traffic.topic().set_group_offset(traffic.group(), partition, offset).await;
        }
        report.faults += 1;
        daemon = traffic.start_daemon(options, server.url()).await;
        traffic.point_at([&daemon]);
    }
    traffic.store(server.url(), MESSAGES_BETWEEN).await?;
    traffic.stop_and_audit(&mut report, &server, &[&daemon]).await?;
    Ok(report)
}
