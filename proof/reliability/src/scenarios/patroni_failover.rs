//! A cluster that fails over by itself.

use std::time::Instant;

use db::schema;

use crate::{
    cluster::{DATABASE, Network, Patroni, store},
    options::Options,
    report::{Report, longest_without_writes},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

const NAME: &str = "Patroni with etcd fails over";
/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 200;
/// The number of events that are refused while etcd has no quorum.
const REFUSALS: u64 = 20;
const MACHINES: u8 = 3;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Switchover,
    LeaderKilled,
    /// Its PostgreSQL goes on, and clients reach it.
    PatroniStops,
    /// Clients reach the leader; the other machines do not, nor it them.
    LeaderCutOff,
    /// The others hear nothing from the leader, but it hears them.
    LeaderUnheard,
    /// No leader can be elected, and the one there is steps down.
    QuorumLost,
}

const FAULTS: [Fault; 6] = [
    Fault::Switchover,
    Fault::LeaderKilled,
    Fault::PatroniStops,
    Fault::LeaderCutOff,
    Fault::LeaderUnheard,
    Fault::QuorumLost,
];

/// Three machines in network namespaces, in synchronous mode, under load: a switchover, and everything that makes
/// another one the leader. Nothing is lost, and the longest time without writes is noted.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    if !Patroni::is_installed() {
        let why = "Patroni or etcd is not installed (on Debian: apt-get install patroni etcd-server)";
        return Ok(Report::skipped(NAME, why));
    }
    let network = match Network::start(MACHINES) {
        Ok(network) => network,
        Err(why) => return Ok(Report::skipped(NAME, format!("there are no network namespaces here: {why:#}"))),
    };
    let mut report = Report::new(NAME);
    let mut cluster = Patroni::start(options, network).await?;
    Saboteur::connect(&cluster.maintenance_url()).await?.make_database(DATABASE).await?;
    let url = cluster.url();
    schema::migrate(&store(&url)?, None).await?;
    let daemon = options.start_daemon(&url, &["--admin-listen", "127.0.0.1:0"]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let began = Instant::now();
    let mut outages = Vec::new();
    for fault in FAULTS.into_iter().cycle() {
        if outages.len() >= FAULTS.len() && began.elapsed() > options.duration {
            break;
        }
        let leader = cluster.wait_until_whole().await?;
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let since = Instant::now();
        happen(fault, leader, &mut cluster, &traffic).await?;
        outages.push((fault, since, Instant::now()));
        report.faults += 1;
        cluster.wait_until_whole().await?;
        traffic.acknowledge(EVENTS_BETWEEN).await?;
    }

    let operations = traffic.stop().await?;
    for (fault, from, to) in outages {
        let without = longest_without_writes(&operations, from, to).as_secs_f64();
        report.notes.push(format!("{fault:?}: {without:.1} s without writes"));
    }
    let lost = daemon.metric("analyticsd_lost_events_total").await.unwrap_or_default();
    report.promise(lost == 0.0, format_args!("the daemon counts {lost} lost events"));
    report.audit(&store(&url)?, &Saboteur::connect(&url).await?, &[&daemon], &operations).await?;
    Ok(report)
}

/// Returns when events are acknowledged again, and the fault is over.
async fn happen(fault: Fault, leader: u8, cluster: &mut Patroni, traffic: &Traffic) -> anyhow::Result<()> {
    match fault {
        Fault::Switchover => {
            cluster.switch_over(leader).await?;
            traffic.acknowledge(EVENTS_BETWEEN).await
        }
        Fault::LeaderKilled => {
            cluster.kill(leader).await?;
            traffic.acknowledge(EVENTS_BETWEEN).await?;
            cluster.start_machine(leader)
        }
        Fault::PatroniStops => {
            cluster.signal_patroni(leader, "STOP").await?;
            cluster.wait_for_other_leader(leader).await?;
            // Until Patroni fences it, the old leader takes writes, and no commit of theirs ends.
            cluster.signal_patroni(leader, "CONT").await?;
            traffic.acknowledge(EVENTS_BETWEEN).await
        }
        Fault::LeaderCutOff | Fault::LeaderUnheard => {
            for other in Patroni::others(leader) {
                let (leader, other) = (cluster.ip(leader), cluster.ip(other));
                cluster.network.lose(leader, other)?;
                if matches!(fault, Fault::LeaderCutOff) {
                    cluster.network.lose(other, leader)?;
                }
            }
            cluster.wait_for_other_leader(leader).await?;
            traffic.acknowledge(EVENTS_BETWEEN).await?;
            cluster.network.heal();
            Ok(())
        }
        Fault::QuorumLost => {
            for other in Patroni::others(leader) {
                cluster.signal_etcd(other, "STOP").await?;
            }
            traffic.refuse(REFUSALS).await?;
            for other in Patroni::others(leader) {
                cluster.signal_etcd(other, "CONT").await?;
            }
            traffic.acknowledge(EVENTS_BETWEEN).await
        }
    }
}
