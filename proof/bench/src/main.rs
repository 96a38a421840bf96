//! Measures analyticsd against the textbook way to count events, side by side in one run, and both against an HTTP
//! server that does nothing. Figures from different machines do not compare; the ratios within one run do.
//!
//! - `cli` reads the command line and makes a `plan` from it;
//! - `parts` has one file for each part of the measurements;
//! - `database` is the database server, `fill` fills its hours for the daemon, `table` for the textbook, `month` a
//!   settled month for both, `rows` are for bulk loads;
//! - `http` is the plain warp server of `ceiling` and `textbook`, `servers` starts these and the daemon;
//! - `wrk` makes the load, `interleave` loads the contenders in turn, `cpu` measures the cost, `ledger` checks the
//!   daemon's counts;
//! - `measure`, `figure`, `memory`, `numbers` and `machine` are the parts of a report, `ratios` compares the contenders, `targets` has
//!   the promises;
//! - `report` prints the results, `check` compares them with a stored run, `store` writes them to the documentation,
//!   `plot` draws them.
//!
//! Exit codes: 0 if everything was measured; 1 if something failed, so that there are no figures, or if a check found a
//! regression; 2 if nothing could begin.

mod ceiling;
mod check;
mod cli;
mod cpu;
mod database;
mod figure;
mod fill;
mod http;
mod interleave;
mod ledger;
mod machine;
mod measure;
mod memory;
mod month;
mod numbers;
mod parts;
mod plan;
mod plot;
mod ratios;
mod report;
mod rows;
mod servers;
mod store;
mod table;
mod targets;
mod textbook;
mod wrk;

use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    check::Check,
    cli::{Args, ServerCommand},
    database::Database,
    machine::Machine,
    plan::Plan,
    report::Report,
    servers::Programs,
    store::Store,
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
        None => match Needs::find(&args) {
            Ok(needs) => run(&args, &needs).await,
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

/// What a run needs. It is checked first, so that a long run does not fail at its end.
struct Needs {
    wrk: Wrk,
    programs: Programs,
    store: Option<Store>,
    /// The run to compare with.
    stored: Option<Report>,
}

impl Needs {
    fn find(args: &Args) -> anyhow::Result<Self> {
        let stored = |path: &PathBuf| {
            let json = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            check::read(&json).with_context(|| format!("cannot compare with {}", path.display()))
        };
        Ok(Self {
            wrk: Wrk::find()?,
            programs: Programs::find()?,
            store: args.store.as_deref().map(Store::open).transpose()?,
            stored: args.check.as_ref().map(stored).transpose()?,
        })
    }
}

async fn run(args: &Args, needs: &Needs) -> anyhow::Result<()> {
    let report = measure(args, needs).await?;
    if let Some(path) = &args.json {
        write(path, &serde_json::to_vec_pretty(&report)?)?;
    }
    match &args.markdown {
        Some(path) => write(path, report.to_string().as_bytes())?,
        None => print(&report),
    }
    if let Some(store) = &needs.store {
        store.keep(&report)?;
    }
    let Some(stored) = &needs.stored else { return Ok(()) };
    let check = Check::of(stored, &report)?;
    print(&check);
    check.verdict()
}

/// The reader may be gone. That is no failure of the run.
fn print(text: &impl fmt::Display) {
    let _ = write!(std::io::stdout(), "{text}");
}

fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

async fn measure(args: &Args, Needs { wrk, programs, .. }: &Needs) -> anyhow::Result<Report> {
    let plan = Plan::from(args);
    let machine = Machine::read()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let url = args.database_url.as_deref();
    let database = Database::start(url, args.postgres_bin.clone(), plan.databases_beside()).await?;
    // The servers end with the future that holds them, before the database does.
    let outcome = tokio::select! {
        found = parts::measure(&plan, wrk, programs, &database) => found,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    let facts = database.facts().await;
    database.stop().await?;
    Ok(Report::new(outcome?, plan, machine, facts?, wrk.description()))
}
