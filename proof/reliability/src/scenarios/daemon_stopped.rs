//! SIGTERM to the daemon.

use std::time::Instant;

use crate::{
    ledger::Ledger,
    operation::{Action, Operation, Outcome},
    options::Options,
    report::{Report, stored},
    traffic::{Mix, Traffic},
};

/// The number of acknowledged events between two faults.
const EVENTS_BETWEEN: u64 = 200;

/// SIGTERM under load, again and again: the daemon ends with success, and everything that it stored is acknowledged.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("SIGTERM to the daemon");
    let server = options.start_server().await?;
    let mut daemon = options.start_daemon(server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let status = daemon.terminate().await;
        traffic.point_at(&[]);
        report.promise(status.success(), format_args!("the daemon was asked to stop and ended with {status}"));
        report.faults += 1;
        daemon = options.start_daemon(server.url(), &[]).await;
        traffic.point_at(&[daemon.url()]);
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    let operations = report.stop_and_audit(traffic, &server, &[&daemon]).await?;

    // A stop closes idle connections, perhaps while a client writes into one. That request was not accepted, so it
    // must not be stored; and every accepted request must be answered.
    let strict: Vec<Operation> = operations.into_iter().map(unanswered_is_refused).collect();
    let verdict = Ledger::of(&strict).verdict(&stored(server.store()).await?);
    report.promise(verdict.is_clean(), format_args!("accepted and stored, but not answered:\n{verdict}"));
    Ok(report)
}

fn unanswered_is_refused(operation: Operation) -> Operation {
    let action = match operation.action {
        Action::Send { events, outcome: Outcome::Unknown } => Action::Send { events, outcome: Outcome::Refused },
        other => other,
    };
    Operation { action, ..operation }
}
