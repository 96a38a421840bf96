//! Errors that somebody between daemon and database makes up, as poolers do that lose their server.

use std::time::{Duration, Instant};

use anyhow::bail;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::sleep;

use crate::{
    options::Options,
    postgres::Server,
    proxy::{ErrorPlace, FalseError, Fault, Proxy},
    report::Report,
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

/// Codes of every class that a server or a pooler could answer with, see PostgreSQL's appendix A; and one that is in no class. Left out are the schema's own
/// codes and those that `db` takes for a proof that nothing was committed, whatever a proxy does.
const CODES: &[&str] = &[
    "03000", "08000", "08003", "08006", "08P01", "0A000", "21000", "22000", "22003", "22P05", "23505", "23514",
    "25000", "25001", "25P02", "25P03", "26000", "28000", "28P01", "34000", "3D000", "40001", "40002", "40003",
    "40P01", "42601", "42P01", "42P05", "53000", "53200", "53300", "53400", "54000", "55000", "55006", "55P03",
    "57000", "57014", "57P01", "57P02", "57P03", "57P05", "58000", "58030", "58P01", "F0000", "HV000", "P0001",
    "XX000", "XX001", "XX002", "ZZ999",
];
/// Every place of an error, with every severity and with what becomes of the connection.
const SHAPES: [(ErrorPlace, &str, bool); 15] = {
    use ErrorPlace::{AfterAnswer, InsteadOfAnswer, InsteadOfStatement};
    [
        (InsteadOfStatement, "ERROR", true),
        (InsteadOfStatement, "ERROR", false),
        (InsteadOfStatement, "FATAL", false),
        (InsteadOfStatement, "FATAL", true),
        (InsteadOfStatement, "PANIC", false),
        (InsteadOfAnswer, "ERROR", true),
        (InsteadOfAnswer, "ERROR", false),
        (InsteadOfAnswer, "FATAL", false),
        (InsteadOfAnswer, "FATAL", true),
        (InsteadOfAnswer, "PANIC", false),
        (AfterAnswer, "ERROR", true),
        (AfterAnswer, "ERROR", false),
        (AfterAnswer, "FATAL", false),
        (AfterAnswer, "FATAL", true),
        (AfterAnswer, "PANIC", false),
    ]
};
/// How long a fault may wait for a statement that it can happen to.
const PATIENCE: Duration = Duration::from_mins(1);
/// Gives each fault a different moment of the load.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A proxy answers commits with errors of its own, of any code and severity, under load. The database is well, so the daemon can find out what became of
/// each batch, and must: every request is answered, and no answer is wrong.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("errors that a proxy makes up");
    let mut rng = StdRng::seed_from_u64(options.seed);
    let server = Server::start(options).await?;
    let proxy = Proxy::start(server.url(), &server.socket()?).await?;
    let daemon = options.start_daemon(proxy.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);
    traffic.acknowledge(100).await?;

    let began = Instant::now();
    while proxy.injected() < SHAPES.len() as u64 || began.elapsed() < options.duration {
        for (place, severity, goes_on) in SHAPES {
            let code = CODES.choose(&mut rng).expect("there are codes");
            let before = proxy.injected();
            let armed = Instant::now();
            proxy.arm(Fault::Answer(FalseError { place, code, severity, goes_on }));
            while proxy.injected() == before {
                if armed.elapsed() > PATIENCE {
                    bail!(
                        "no statement that stores events came by within {PATIENCE:?} for {place:?} {severity} {code}"
                    );
                }
                sleep(Duration::from_millis(1)).await;
            }
            sleep(LONGEST_PAUSE.mul_f64(rng.random())).await;
        }
    }
    traffic.acknowledge(100).await?;
    report.faults = proxy.injected();

    let operations = traffic.stop().await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    report.audit(server.store(), &saboteur, &[&daemon], &operations).await?;
    let unknown = report.unknown;
    report.promise(unknown == 0, format_args!("{unknown} events were left unanswered while the database was well"));
    Ok(report)
}
