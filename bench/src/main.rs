//! Measures analyticsd against the textbook way to count events, side by side in one run, and both against an HTTP server
//! that does nothing. Figures from different machines do not compare; the ratios within one run do.
//!
//! - `cli` reads the command line;
//! - `database` is the server that everything runs on, `fill` puts the hours into it that are read, `table` does the same for
//!   the textbook;
//! - `http` is the plain warp server that `ceiling` and `textbook` answer through, `servers` starts these and the daemon;
//! - `wrk` makes the load, `measure` says which load on what, `ledger` checks that the daemon counted what it acknowledged;
//! - `machine` and `report` say what came out, and where.
//!
//! Exit codes: 0 if everything was measured; 1 if something failed, so that there are no figures; 2 if nothing could begin.

mod ceiling;
mod cli;
mod database;
mod fill;
mod http;
mod ledger;
mod machine;
mod measure;
mod report;
mod servers;
mod table;
mod textbook;
mod wrk;

use std::{fs, io::Write, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{Args, Plan, ServerCommand},
    database::Database,
    ledger::Ledger,
    machine::Machine,
    measure::Bench,
    report::Report,
    servers::{Programs, Servers},
    wrk::Wrk,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.server {
        Some(ServerCommand::ServeCeiling) => ceiling::serve().await,
        Some(ServerCommand::ServeTextbook { database_url, flavour, connections }) => {
            textbook::serve(&database_url, flavour, connections).await
        }
        None => match Wrk::find().and_then(|wrk| Ok((wrk, Programs::find()?))) {
            Ok((wrk, programs)) => run(&args.plan, &wrk, &programs).await,
            Err(error) => {
                eprintln!("error: {error:#}");
                return ExitCode::from(2);
            }
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: &Plan, wrk: &Wrk, programs: &Programs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let database = Database::start(plan.database_url.as_deref()).await?;
    // Whatever ends the run, the servers end with the future that holds them, and then the database does.
    let outcome = tokio::select! {
        measured = measure_on(&database, plan, wrk, programs) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    database.stop().await?;

    let report = outcome?;
    if let Some(path) = &plan.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    // Whoever reads this may be gone, which is no failure of the run.
    let _ = write!(std::io::stdout(), "{report}");
    Ok(())
}

async fn measure_on(database: &Database, plan: &Plan, wrk: &Wrk, programs: &Programs) -> anyhow::Result<Report> {
    let flavour = database.migrate().await?;
    let hours = fill::Hours::default();
    eprintln!("filling the hours that are read");
    fill::fill(database.store(), &hours).await?;
    table::make(database.client(), flavour, &hours).await?;
    let facts = database.facts().await?;

    let servers = Servers::start(programs, database.url(), flavour, plan.textbook_connections).await?;
    for filled in hours.all() {
        for server in [&servers.textbook, &servers.daemon] {
            let counts = server.counts(filled.hour).await?;
            if counts != filled.counts() {
                bail!("{} answers {counts:?} for {}, which holds {:?}", server.name, filled.hour, filled.counts());
            }
        }
    }
    database.calm_down().await?;

    let mut ledger = Ledger::open(&servers.daemon).await?;
    let measurements = Bench { plan, wrk, database, servers: &servers, flavour }.measure(&hours, &mut ledger).await?;
    let ledger = ledger.close(&servers.daemon, plan.connections).await?;
    Ok(Report { machine: Machine::read()?, database: facts, plan: plan.clone(), measurements, ledger })
}
