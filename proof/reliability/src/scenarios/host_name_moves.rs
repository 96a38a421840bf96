//! The name of the database's host leads to another address, or nowhere.

use std::{fs, net::UdpSocket, path::Path, process::Stdio, time::Instant};

use harness::{Daemon, bare_command, program};
use tokio::process::Command;

use crate::{
    cluster::{Gone, Pair, Place},
    options::Options,
    report::{Report, leave_out_reads, longest_without_writes},
    sabotage::Saboteur,
    traffic::{Mix, Traffic},
};

const NAME: &str = "host name moves, or is lost";
const HOST: &str = "database.test";
/// A server of names that never answers.
const SILENT: &str = "127.0.53.53:53";
/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 200;
/// The number of events that are refused while the name leads nowhere.
const REFUSALS: u64 = 20;

/// Shows a program files of its own in place of the machine's.
const WITH_OWN_FILES: &str = "for file in hosts resolv.conf nsswitch.conf; do \
                              mount --bind \"$1/$file\" \"/etc/$file\" || exit 1; done; shift; exec \"$@\"";

/// The URL names one host. The primary is killed, its standby promoted, and the name leads to that one: the daemon
/// follows. Then all connections end while the server of names is silent, and events are refused until it answers.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let may_mount = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status().await;
    let silent = UdpSocket::bind(SILENT);
    let (true, Ok(silent)) = (may_mount.is_ok_and(|status| status.success()), silent) else {
        return Ok(Report::skipped(NAME, "this process may not mount files over others, or use the port of names"));
    };
    let mut report = Report::new(NAME);
    let first = Place::on_loopback()?;
    let second = first.with_ip([127, 0, 0, 2]);
    let mut pair = Pair::start_at(options, [first, second]).await?;
    pair.make_synchronous().await?;
    let files = harness::server_dir();
    fs::write(files.path().join("nsswitch.conf"), "hosts: files dns\n")?;
    fs::write(files.path().join("resolv.conf"), format!("nameserver {}\n", silent.local_addr()?.ip()))?;
    lead_to(files.path(), Some(pair.primary.place()))?;
    let url = pair.primary.url().replacen(&pair.primary.place().ip().to_string(), HOST, 1);
    let daemon = start(options, &url, files.path()).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    let (mut moves, mut kills) = (Vec::new(), Vec::new());
    while moves.is_empty() || began.elapsed() < options.duration {
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        let since = Instant::now();
        pair.lose_primary(Gone::Killed).await?;
        kills.push((since, Instant::now()));
        report.crashes += 1;
        pair.promote().await?;
        lead_to(files.path(), Some(pair.primary.place()))?;
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        moves.push((since, Instant::now()));

        lead_to(files.path(), None)?;
        // What is open is not looked up again.
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        Saboteur::connect(&pair.primary.url()).await?.terminate_all_connections().await?;
        traffic.refuse(REFUSALS).await?;
        lead_to(files.path(), Some(pair.primary.place()))?;
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        report.faults += 2;
        pair.follow().await?;
        pair.make_synchronous().await?;
    }

    let mut operations = traffic.stop().await?;
    leave_out_reads(&mut operations, &kills);
    let without = moves.iter().map(|&(from, to)| longest_without_writes(&operations, from, to));
    report.note_times("the name moved, without writes", &without.collect::<Vec<_>>());
    report.audit(&pair.store()?, &Saboteur::connect(&pair.primary.url()).await?, &[&daemon], &operations).await?;
    Ok(report)
}

/// Where the daemon finds the host; none: only the server of names could say.
fn lead_to(files: &Path, place: Option<&Place>) -> anyhow::Result<()> {
    let line = place.map(|place| format!("{} {HOST}\n", place.ip())).unwrap_or_default();
    // In place, since the daemon sees this very file.
    Ok(fs::write(files.join("hosts"), line)?)
}

async fn start(options: &Options, url: &str, files: &Path) -> Daemon {
    let mut command = bare_command(Path::new("unshare"));
    command.args(["--mount", "sh", "-c", WITH_OWN_FILES, "sh"]).arg(files).arg(program("analyticsd"));
    command.args(["--database-url", url, "--allow-anonymous", "--log", &options.daemon_log]);
    Daemon::start_command(command).await
}
