//! Pages whose checksum is wrong.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::ensure;
use db::{Auditor, Examination, Store};
use harness::{Daemon, PrivateServer};
use model::{Hour, Timestamp, wire::ANALYTICS_PATH};
use tokio::task::JoinSet;

use crate::{
    options::Options,
    report::Report,
    sabotage::{Page, Saboteur},
    traffic::{Mix, Traffic},
};

/// The number of answered events before a fault, and during one.
const EVENTS_BETWEEN: u64 = 300;
/// At least as many as are counted as recent where a page is chosen.
const RECENT_HOURS: usize = 4;
/// What counts are read from.
const COUNTS: &str = "hour_counts";
/// Of this an audit may need the index alone.
const USERS: &str = "hour_users";
const TABLES: [&str; 3] = [COUNTS, USERS, "events"];
/// How long the examination may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// In every page this lies in its rows, or between them and their pointers.
const IN_PAGE: u64 = 4_096;

/// A page of each table is damaged on the disk, which its checksum shows. What needs the page gets an error, and other
/// hours are read. Once the page is as it was, everything is there.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("pages with a wrong checksum");
    let mut server = options.start_server().await?;
    let data = server.dir().join("native/data");
    if !Saboteur::connect(server.url()).await?.has_checksums().await? {
        server.stop().await?;
        add_checksums(&options.programs()?.path("pg_checksums"), &data)?;
        server.start_again().await?;
    }
    let daemon = options.start_daemon(server.url(), &[]).await;
    // At first the past alone, so that some pages hold nothing of the last hours.
    let past = Mix { present: 0.0, reads: 0.0, others: Mix::usual().others.split_off(RECENT_HOURS), ..Mix::usual() };
    let traffic = Traffic::start(options.seed, 0, options.clients, &past, &[daemon.url()]);
    traffic.acknowledge(10 * EVENTS_BETWEEN).await?;
    let mut operations = traffic.stop().await?;
    let traffic = Traffic::start(options.seed, 1, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    while report.faults == 0 || began.elapsed() < options.duration {
        for table in TABLES {
            traffic.acknowledge(EVENTS_BETWEEN).await?;
            // Until the server runs again, nothing may move to the page or from it.
            daemon.signal("STOP").await;
            let saboteur = Saboteur::connect(server.url()).await?;
            saboteur.remove_old_versions(COUNTS).await?;
            let page = saboteur.page_of_the_past(table).await?;
            let damaged = Damaged { file: data.join(&page.file), at: page.block * page.size + IN_PAGE };
            server.stop().await?;
            damaged.flip()?;
            server.start_again().await?;
            daemon.signal("CONT").await;
            report.faults += 1;
            traffic.have_answered(EVENTS_BETWEEN).await?;
            look(&mut report, table, &page, &server, &daemon).await?;
            server.stop().await?;
            damaged.flip()?;
            server.start_again().await?;
        }
    }
    traffic.acknowledge(EVENTS_BETWEEN).await?;

    operations.extend(traffic.stop().await?);
    report.audit(server.store(), &Saboteur::connect(server.url()).await?, &[&daemon], &operations).await?;
    Ok(report)
}

/// What daemon and audit say while a page is damaged.
async fn look(
    report: &mut Report,
    table: &str,
    page: &Page,
    server: &PrivateServer,
    daemon: &Daemon,
) -> anyhow::Result<()> {
    // All at once, so that some are read together.
    let mut reads = JoinSet::new();
    for &hour in page.hours.iter().chain(&page.other_hours) {
        let read = daemon.http().get(format!("{}{}", daemon.url(), path_of(hour))).send();
        reads.spawn(async move { (hour, read.await.map(|answer| answer.status().as_u16())) });
    }
    let mut wrong = Vec::new();
    while let Some(read) = reads.join_next().await {
        let (hour, status) = read?;
        let is_damaged = table == COUNTS && page.hours.contains(&hour);
        let status = status?;
        if status != if is_damaged { 503 } else { 200 } {
            wrong.push((hour, status));
        }
    }
    report.promise(
        wrong.is_empty(),
        format_args!("{table}: reads were answered {wrong:?} beside a damaged page of {:?}", page.hours),
    );
    let store = server.store();
    let read_all =
        if table == USERS { Saboteur::connect(server.url()).await?.read_all(table).await } else { audit(store).await };
    report.promise(
        read_all.is_err(),
        format_args!("{table}: who read everything did not notice the damaged page of {:?}", page.hours),
    );
    let damaged = Examination::new(store, PATIENCE).platform().await?.damaged_pages;
    report.promise(damaged > 0, format_args!("{table}: the examination did not notice a damaged page"));
    Ok(())
}

fn path_of(hour: Hour) -> String {
    format!("{ANALYTICS_PATH}?{}={}", Timestamp::PARAMETER, hour.start().millis())
}

async fn audit(store: &Store) -> anyhow::Result<()> {
    let auditor = Auditor::connect(store).await?;
    let everything = Hour::containing(Timestamp::MIN)..=Hour::containing(Timestamp::MAX);
    for part in auditor.parts(&everything).await? {
        auditor.audit(&part, None).await?;
    }
    Ok(())
}

struct Damaged {
    file: PathBuf,
    at: u64,
}

impl Damaged {
    /// The second time it is as it was. The server must not run.
    fn flip(&self) -> anyhow::Result<()> {
        let file = File::options().read(true).write(true).open(&self.file)?;
        let mut bytes = [0; 64];
        file.read_exact_at(&mut bytes, self.at)?;
        file.write_all_at(&bytes.map(|byte| !byte), self.at)?;
        Ok(file.sync_all()?)
    }
}

fn add_checksums(program: &Path, data: &Path) -> anyhow::Result<()> {
    let output = Command::new(program).arg("--enable").arg("-D").arg(data).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "pg_checksums: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
