//! A database that stops answering without closing anything.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    operation::{Operation, Outcome},
    options::Options,
    proxy::{Fault, Proxy},
    report::{Report, slowest, writes_begun_within},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// For events that only wait in the queue: five seconds are promised, the rest is for a busy machine.
const WAITING: Duration = Duration::from_secs(8);
/// Longer than a statement may take, so that the daemon gives it up.
const HANG: Duration = Duration::from_secs(13);
/// After this long every lane waits for a commit, so new events only wait in the queue.
const UNTIL_HELD_UP: Duration = Duration::from_secs(1);

/// All traffic stalls for a while; then a single statement is held back until the daemon has given it up, and reaches
/// the server late.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("database hangs without closing");
    let server = options.start_server().await?;
    let proxy = Proxy::start(server.url(), &server.socket()).await?;
    let daemon = options.start_daemon(proxy.url(), &[]).await;
    // Events with keys are repeated until they are stored, which would count as one long request.
    let mix = Mix { others: Vec::new(), batches: 0.0, keyed: 0.0, ..Mix::usual() };
    let mut operations = Vec::new();
    let mut waited = Vec::new();

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        let generation = 2 * u32::try_from(report.faults)?;
        let (during, longest) = hang(options, generation, &mix, &proxy, daemon.url()).await?;
        operations.extend(during);
        waited.push(longest);
        report.promise(
            longest <= WAITING,
            format_args!("an event that only waited in the queue got no answer for {longest:?}"),
        );
        let held = hold_back(options, generation + 1, &mix, &proxy, daemon.url()).await?;
        operations.extend(held);
        report.faults += 2;
    }
    report.note_times("answered while only waiting in the queue", &waited);

    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    Ok(report)
}

/// All traffic stalls, then flows again: statements that the daemon gave up reach the server late. Returns also the
/// longest that an event waited which only was in the queue.
async fn hang(
    options: &Options,
    generation: u32,
    mix: &Mix,
    proxy: &Proxy,
    url: &str,
) -> anyhow::Result<(Vec<Operation>, Duration)> {
    let early = Traffic::start(options.seed, 2 * generation, options.clients, mix, &[url]);
    early.acknowledge(100).await?;
    proxy.stall();
    sleep(UNTIL_HELD_UP).await;
    let held_up = Instant::now();
    let late = Traffic::start(options.seed, 2 * generation + 1, options.clients, mix, &[url]);
    sleep(HANG).await;
    let over = Instant::now();
    proxy.go_on();
    late.acknowledge(100).await?;

    let late = late.stop().await?;
    let waited = slowest(writes_begun_within(&late, held_up, over));
    let mut operations = early.stop().await?;
    operations.extend(late);
    Ok((operations, waited))
}

/// One commit hangs while the database is well. It continues only after the daemon has answered its clients, and
/// these answers must remain true.
async fn hold_back(
    options: &Options,
    generation: u32,
    mix: &Mix,
    proxy: &Proxy,
    url: &str,
) -> anyhow::Result<Vec<Operation>> {
    let traffic = Traffic::start(options.seed, 2 * generation, options.clients, mix, &[url]);
    traffic.acknowledge(100).await?;
    proxy.inject(Fault::HoldStatement).await?;
    // The lane stores again, so the fate of the held statement is decided.
    traffic.acknowledge(100).await?;
    proxy.let_go();
    traffic.acknowledge(100).await?;
    let operations = traffic.stop().await?;
    anyhow::ensure!(
        operations.iter().any(|o| matches!(o.outcome(), Some(Outcome::Refused | Outcome::Unknown))),
        "the statement that was held back was acknowledged, so it was not held back"
    );
    Ok(operations)
}
