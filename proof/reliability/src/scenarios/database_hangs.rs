//! A database that stops answering without closing anything.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    operation::{Operation, Outcome},
    options::Options,
    postgres::Server,
    proxy::{Fault, Proxy},
    report::{Report, slowest, writes_begun_within},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// The longest that an event may go unanswered that only waits its turn: five seconds are promised, the rest is for a busy machine.
const WAITING: Duration = Duration::from_secs(8);
/// How long everything stands still: longer than a statement may take, so that the daemon gives it up.
const HANG: Duration = Duration::from_secs(13);
/// After this long every lane is held up by a commit, so what comes now only waits.
const UNTIL_HELD_UP: Duration = Duration::from_secs(1);

/// Everything stands still for a while; then a single statement is held back until long after the daemon gave it up, and is let go.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("database hangs without closing");
    let server = Server::start(options).await?;
    let proxy = Proxy::start(server.url(), &server.socket()?).await?;
    let daemon = options.start_daemon(proxy.url(), &[]).await;
    // What is sent again until it is stored would be timed as one long request.
    let mix = Mix { others: Vec::new(), batches: 0.0, keyed: 0.0, ..Mix::usual() };
    let mut operations = Vec::new();

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        let generation = 2 * u32::try_from(report.faults)?;
        operations.extend(hang(options, generation, &mix, &proxy, daemon.url(), &mut report).await?);
        let held = hold_back(options, generation + 1, &mix, &proxy, daemon.url()).await?;
        operations.extend(held);
        report.faults += 2;
    }

    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    Ok(report)
}

/// Everything stands still, then flows again: statements that the daemon gave up reach the server late.
async fn hang(
    options: &Options,
    generation: u32,
    mix: &Mix,
    proxy: &Proxy,
    url: &str,
    report: &mut Report,
) -> anyhow::Result<Vec<Operation>> {
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
    report.promise(
        waited <= WAITING,
        format_args!("an event that only waited its turn went {waited:?} without an answer"),
    );
    report.notes.push(format!("events waiting their turn were answered within {:.1} s", waited.as_secs_f64()));
    let mut operations = early.stop().await?;
    operations.extend(late);
    Ok(operations)
}

/// One commit hangs while the database is well. It is let go only when the daemon has answered its clients, so what they were told
/// must hold against it.
async fn hold_back(
    options: &Options,
    generation: u32,
    mix: &Mix,
    proxy: &Proxy,
    url: &str,
) -> anyhow::Result<Vec<Operation>> {
    let traffic = Traffic::start(options.seed, 2 * generation, options.clients, mix, &[url]);
    traffic.acknowledge(100).await?;
    let injected = proxy.injected();
    proxy.arm(Fault::HoldStatement);
    while proxy.injected() == injected {
        sleep(Duration::from_millis(1)).await;
    }
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
