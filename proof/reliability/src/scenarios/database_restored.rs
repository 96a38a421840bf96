//! A database that is restored to an earlier state.

use std::time::Instant;

use harness::Kafka;

use crate::{
    backup::Backup,
    options::Options,
    report::Report,
    topic_traffic::{Counts, TopicTraffic},
};

const NAME: &str = "database restored to an earlier state";
/// The number of stored messages before a copy of the database is taken, and between that and its return.
const MESSAGES_BETWEEN: u64 = 500;

/// A copy of the database is taken under load. Later the database crashes, and the copy takes its place, while the daemon
/// runs: it reads the topic again from where the copy stands. At last nothing is sent any more when that happens.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let Some(kafka) = Kafka::start().await else {
        return Ok(Report::skipped(NAME, "no broker is installed"));
    };
    let mut report = Report::new(NAME);
    let mut server = options.start_server().await?;
    let mut traffic = TopicTraffic::start(options, &kafka, Counts::Fall).await?;
    let daemon = traffic.start_daemon(options, server.url()).await;

    let began = Instant::now();
    let mut recoveries = Vec::new();
    let mut is_last = false;
    while !is_last {
        is_last = report.faults > 0 && began.elapsed() > options.duration;
        traffic.store(server.url(), MESSAGES_BETWEEN).await?;
        let backup = Backup::of(options, &server).await?;
        traffic.store(server.url(), MESSAGES_BETWEEN).await?;
        if is_last {
            traffic.stop_sending().await?;
            traffic.store_all(server.url()).await?;
        }
        report.crashes += 1;
        report.faults += 1;
        backup.restore(&mut server).await?;
        let answered = Instant::now();
        if !is_last {
            traffic.store_all(server.url()).await?;
            recoveries.push(answered.elapsed());
        }
    }
    report.note_times("all was stored again after the restored database answered", &recoveries);
    traffic.stop_and_audit(&mut report, &server, &[&daemon]).await?;
    Ok(report)
}
