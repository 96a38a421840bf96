//! `kill -9` of the broker of a topic.

use std::time::{Duration, Instant};

use harness::Kafka;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    report::Report,
    topic_traffic::{Counts, TopicTraffic},
};

const NAME: &str = "kill -9 of the broker";
/// The number of stored messages between two faults.
const MESSAGES_BETWEEN: u64 = 500;
const LONGEST_OUTAGE: Duration = Duration::from_millis(1_500);

/// The only broker of a topic is killed under load, again and again, and started again on what it has.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let Some(mut kafka) = Kafka::start_own().await else {
        return Ok(Report::skipped(NAME, "no broker is installed"));
    };
    if !kafka.keeps_its_topics() {
        return Ok(Report::skipped(NAME, "the broker keeps all in memory; TEST_KAFKA can name the folder of another"));
    }
    let mut report = Report::new(NAME);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = options.start_server().await?;
    let traffic = TopicTraffic::start(options, &kafka, Counts::NeverFall).await?;
    let daemon = traffic.start_daemon(options, server.url()).await;
    traffic.point_at([&daemon]);

    let began = Instant::now();
    let mut recoveries = Vec::new();
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.store(server.url(), MESSAGES_BETWEEN).await?;
        kafka.kill().await;
        report.faults += 1;
        sleep(LONGEST_OUTAGE.mul_f64(rng.random())).await;
        kafka.start_again().await;
        let answered = Instant::now();
        traffic.store_all(server.url()).await?;
        traffic.store(server.url(), 1).await?;
        recoveries.push(answered.elapsed());
    }
    report.note_times("messages were stored again after the broker answered", &recoveries);
    traffic.stop_and_audit(&mut report, &server, &[&daemon]).await?;
    Ok(report)
}
