//! A replication slot whose consumer is gone, for which the server keeps its log.

use std::time::{Duration, Instant};

use harness::End;

use crate::{
    options::Options,
    report::Report,
    sabotage::Saboteur,
    small_disk::SmallDisk,
    traffic::{Mix, Traffic},
};

const NAME: &str = "replication slot left behind";
/// The number of acknowledged events between two steps.
const EVENTS_BETWEEN: u64 = 200;
/// The number of events that are refused before there is room again.
const REFUSALS: u64 = 20;
/// More files of the log, of 16 MiB, than the disk has room for.
const LOG_FILES: u64 = 20;
/// What an administrator frees, in bytes.
const SPARE: usize = 24 << 20;
/// What the log takes at most while it is kept for the slot within the limit, and the events meanwhile, in bytes.
const LIMITED_LOG: usize = 56 << 20;
const PATIENCE: Duration = Duration::from_mins(1);

/// With `max_slot_wal_keep_size` the server gives the slot up, and the daemon notices nothing. Without it the disk
/// fills, the server ends, and events are refused until an administrator makes room, starts it and drops the slot.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let dir = harness::server_dir();
    let disk = match SmallDisk::mount(dir.path()) {
        Ok(disk) => disk,
        Err(why) => return Ok(Report::skipped(NAME, format!("a small disk cannot be mounted here: {why}"))),
    };
    let mut report = Report::new(NAME);
    let mut server = options.start_server_in(dir).await?;
    let saboteur = Saboteur::connect(server.url()).await?;
    saboteur.keep_log_small().await?;
    saboteur.allow_logical_replication().await?;
    server.stop().await?;
    server.start_again().await?;
    let daemon = options.start_daemon(server.url(), &[]).await;
    let traffic = Traffic::start(options.seed, 0, options.clients, &Mix::usual(), &[daemon.url()]);

    let began = Instant::now();
    while report.faults < 2 || began.elapsed() < options.duration {
        if !disk.has_room(SPARE + LIMITED_LOG)? {
            anyhow::ensure!(report.faults > 0, "the disk is too small for the server's log");
            // The events take the space by now.
            break;
        }
        let saboteur = Saboteur::connect(server.url()).await?;
        let refused = traffic.refused();
        saboteur.leave_slot_behind("32MB").await?;
        for _ in 0..LOG_FILES {
            traffic.acknowledge(EVENTS_BETWEEN / LOG_FILES).await?;
            saboteur.begin_new_log_file().await?;
        }
        let more = traffic.refused() - refused;
        report.promise(more == 0, format_args!("{more} events were refused, though the slot's log was limited"));
        saboteur.drop_slots().await?;

        disk.set_aside(SPARE)?;
        saboteur.leave_slot_behind("-1").await?;
        let filling = Instant::now();
        while saboteur.begin_new_log_file().await.is_ok() {
            anyhow::ensure!(filling.elapsed() < PATIENCE, "the log does not fill the disk");
        }
        traffic.refuse(REFUSALS).await?;
        disk.give_back()?;
        // It may have ended by itself, or still try to recover.
        let _ = server.end(End::Kill).await;
        server.start_again().await?;
        Saboteur::connect(server.url()).await?.drop_slots().await?;
        traffic.acknowledge(EVENTS_BETWEEN).await?;
        report.faults += 2;
    }

    report.stop_and_audit(traffic, &server, &[&daemon]).await?;
    drop(server);
    drop(disk);
    Ok(report)
}
