//! Two daemons of several databases.

use std::time::{Duration, Instant};

use model::Timestamp;

use crate::{
    options::Options,
    report::Report,
    traffic::{Mix, Traffic},
};

const REPLICAS: usize = 2;
/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
const MILLIS_PER_HOUR: i64 = 3_600_000;

/// Each request goes to any of two daemons, many of them for past hours, which are settled in each database by the one
/// or the other and reopened all the time. Every read must be one that a single exact counter can give. A batch of
/// which one daemon stored a part is given again to the other, since one after the other is killed.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("two replicas of several shards, killed in turn");
    let servers = options.start_shards().await?;
    let now = Timestamp::now().millis();
    let ago = |hours: i64| Timestamp::from_millis(now - hours * MILLIS_PER_HOUR);
    let mix = Mix {
        reads: 0.4,
        present: 0.5,
        others: vec![ago(5)?, ago(30)?],
        batch_events: 20,
        // Only hours without recent writes are settled.
        pause: Duration::from_millis(20),
        ..Mix::over(servers.shards().count())
    };
    let start = async || options.start_daemon_of_shards(&servers.arguments(), &["--settle-after", "1ms"]).await;
    let mut daemons = Vec::new();
    for _ in 0..REPLICAS {
        daemons.push(start().await);
    }
    let urls = |daemons: &[harness::Daemon]| daemons.iter().map(|it| it.url().to_owned()).collect::<Vec<_>>();
    let point = |traffic: &Traffic, daemons: &[harness::Daemon]| {
        let urls = urls(daemons);
        traffic.point_at(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let traffic = Traffic::start(options.seed, 0, 2 * options.clients, &mix, &[]);
    point(&traffic, &daemons);

    let began = Instant::now();
    while report.faults < 2 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        daemons.remove(0).kill().await;
        point(&traffic, &daemons);
        report.faults += 1;
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        daemons.push(start().await);
        point(&traffic, &daemons);
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let operations = traffic.stop().await?;
    report.audit_shards(servers.shards(), servers.urls(), &daemons.iter().collect::<Vec<_>>(), &operations).await?;
    Ok(report)
}
