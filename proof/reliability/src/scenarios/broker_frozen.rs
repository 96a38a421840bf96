//! A broker of a topic that stands still for a while.

use std::time::{Duration, Instant};

use harness::Kafka;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    report::Report,
    topic_traffic::{Counts, TopicTraffic},
};

const NAME: &str = "broker stands still";
/// The number of stored messages between two faults.
const MESSAGES_BETWEEN: u64 = 500;

/// The only broker of a topic is stopped with SIGSTOP under load, again and again: for moments, and for longer than members
/// of the group may be silent.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let Some(mut kafka) = Kafka::start_own().await else {
        return Ok(Report::skipped(NAME, "no broker is installed"));
    };
    let mut report = Report::new(NAME);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = options.start_server().await?;
    let traffic = TopicTraffic::start(options, &kafka, Counts::NeverFall).await?;
    let daemons =
        [traffic.start_daemon(options, server.url()).await, traffic.start_daemon(options, server.url()).await];
    traffic.point_at(&daemons);

    let began = Instant::now();
    let mut recoveries = Vec::new();
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.store(server.url(), MESSAGES_BETWEEN).await?;
        kafka.pause().await;
        report.faults += 1;
        if report.faults.is_multiple_of(2) {
            sleep(Duration::from_millis(rng.random_range(0..500))).await;
        } else {
            sleep(kafka.session_timeout().mul_f64(rng.random_range(1.2..1.6))).await;
        }
        kafka.resume().await;
        let answered = Instant::now();
        traffic.store_all(server.url()).await?;
        traffic.store(server.url(), 1).await?;
        recoveries.push(answered.elapsed());
    }
    report.note_times("messages were stored again after the broker answered", &recoveries);
    traffic.stop_and_audit(&mut report, &server, &[&daemons[0], &daemons[1]]).await?;
    Ok(report)
}
