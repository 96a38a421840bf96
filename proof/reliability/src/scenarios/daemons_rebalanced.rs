//! Daemons of one consumer group that come and go.

use std::time::Instant;

use harness::{Daemon, Kafka};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    options::Options,
    report::Report,
    topic_traffic::{Counts, TopicTraffic},
};

const NAME: &str = "daemons that share a topic come and go";
const DAEMONS: usize = 3;
/// The number of stored messages between two faults, or none.
const MESSAGES_BETWEEN: u64 = 500;

/// Of three daemons that read a topic, any one is killed, stopped, or frozen for longer than it may be silent, or a further
/// one joins them: the partitions move all the time, under load; with Apache Kafka some while they move already.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let Some(kafka) = Kafka::start().await else {
        return Ok(Report::skipped(NAME, "no broker is installed"));
    };
    let mut report = Report::new(NAME);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = options.start_server().await?;
    let traffic = TopicTraffic::start(options, &kafka, Counts::NeverFall).await?;
    let mut daemons = Vec::new();
    for _ in 0..DAEMONS {
        daemons.push(traffic.start_daemon(options, server.url()).await);
    }
    traffic.point_at(&daemons);

    let began = Instant::now();
    while report.faults < 4 || began.elapsed() < options.duration {
        if !kafka.is_apache() {
            // Its group waits for ever for a member that leaves while partitions move.
            traffic.share_out(&daemons).await?;
        }
        if rng.random_bool(0.7) {
            traffic.store(server.url(), MESSAGES_BETWEEN).await?;
        }
        let chosen = rng.random_range(0..daemons.len());
        match report.faults % 4 {
            0 => {
                let killed = leave(&mut daemons, chosen, &traffic);
                killed.kill().await;
            }
            1 => {
                let stopped = leave(&mut daemons, chosen, &traffic);
                let status = stopped.terminate().await;
                report.promise(status.success(), format_args!("a daemon was asked to stop and ended with {status}"));
            }
            2 => {
                daemons[chosen].signal("STOP").await;
                traffic.point_at(others(&daemons, chosen));
                sleep(kafka.session_timeout().mul_f64(rng.random_range(1.2..1.6))).await;
                daemons[chosen].signal("CONT").await;
            }
            _ => daemons.push(traffic.start_daemon(options, server.url()).await),
        }
        report.faults += 1;
        while daemons.len() < DAEMONS {
            daemons.push(traffic.start_daemon(options, server.url()).await);
        }
        if daemons.len() > 2 * DAEMONS {
            leave(&mut daemons, 0, &traffic).kill().await;
        }
        traffic.point_at(&daemons);
    }
    let daemons: Vec<&Daemon> = daemons.iter().collect();
    traffic.stop_and_audit(&mut report, &server, &daemons).await?;
    Ok(report)
}

/// Removes one, which is read from no more.
fn leave(daemons: &mut Vec<Daemon>, chosen: usize, traffic: &TopicTraffic) -> Daemon {
    let daemon = daemons.remove(chosen);
    traffic.point_at(&*daemons);
    daemon
}

fn others(daemons: &[Daemon], chosen: usize) -> impl Iterator<Item = &Daemon> {
    daemons[..chosen].iter().chain(&daemons[chosen + 1..])
}
