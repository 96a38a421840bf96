//! Packets between the daemon and its database that are lost.

use std::time::{Duration, Instant};

use db::schema;
use tokio::time::sleep;

use crate::{
    cluster::{Network, Node, store},
    options::Options,
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

const NAME: &str = "packets lost";
/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;
/// Longer than a statement may take.
const CUT: Duration = Duration::from_secs(12);
/// How many packets of a hundred are lost, and for how long.
const LOSS: u32 = 10;
const LOSSY: Duration = Duration::from_secs(4);
const PORT: u16 = 5432;

/// In turn the database does not hear the daemon, the daemon does not hear the database, and a tenth of all packets is
/// lost, under load. A commit whose answer never comes is looked up before its clients get one.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let network = match Network::start(1) {
        Ok(network) => network,
        Err(why) => return Ok(Report::skipped(NAME, format!("there are no network namespaces here: {why:#}"))),
    };
    let mut report = Report::new(NAME);
    let server = Node::primary(options, network.place(0, PORT)).await?;
    let store = store(&server.url())?;
    schema::migrate(&store, None).await?;
    let daemon = options.start_daemon(&server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    let (here, there) = (network.here(), server.place().ip());
    while report.faults == 0 || began.elapsed() < options.duration {
        for (from, to) in [(here, there), (there, here)] {
            traffic.acknowledge(EVENTS_BETWEEN).await?;
            network.lose(from, to)?;
            report.faults += 1;
            sleep(CUT).await;
            network.heal();
        }
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        match network.lose_percent(LOSS) {
            Ok(()) => report.faults += 1,
            Err(why) => report.notes.push(format!("single packets were not lost: {why}")),
        }
        sleep(LOSSY).await;
        network.heal();
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let operations = traffic.stop().await?;
    report.audit(&store, &Saboteur::connect(&server.url()).await?, &[&daemon], &operations).await?;
    Ok(report)
}
