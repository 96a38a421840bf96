//! Measures analyticsd against the textbook way to count events, side by side in one run, and both against an HTTP
//! server that does nothing. Figures from different machines do not compare; the ratios within one run do.
//!
//! - `cli` reads the command line and makes a `plan` from it;
//! - `parts` has one file for each part of the measurements;
//! - `database` is the database server with `settings`, `fill` fills its hours for the daemon, `table` for the textbook, `month` a
//!   settled month for both, `rows` are for bulk loads;
//! - `earlier` builds an earlier commit, which is then measured too;
//! - `http` is the plain warp server of `ceiling` and `textbook`, `servers` starts these and the daemon;
//! - `wrk` makes the load, `interleave` loads the contenders in turn, `cpu` measures the cost, `ledger` checks the
//!   daemon's counts;
//! - `measure`, `figure`, `memory`, `numbers` and `machine` are the parts of a report, `ratios` compares the contenders, `targets` has
//!   the promises;
//! - `report` prints the results, `check` compares them with those of an earlier commit, `store` writes them to the
//!   documentation, `plot` draws them.
//!
//! Exit codes: 0 if everything was measured; 1 if something failed, so that there are no figures, or if a check found a
//! regression; 2 if nothing could begin.

mod ceiling;
mod check;
mod cli;
mod cpu;
mod database;
mod earlier;
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
mod settings;
mod store;
mod table;
mod targets;
mod textbook;
mod wrk;

use std::{fmt, fs, io::Write, path::Path, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    check::Check,
    cli::{Args, ServerCommand},
    database::Database,
    earlier::Earlier,
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
    earlier: Option<Earlier>,
}

impl Needs {
    fn find(args: &Args) -> anyhow::Result<Self> {
        let given = args.database_url.is_some();
        if let Some(part) = args.parts.iter().find(|part| given && part.needs_private_server()) {
            bail!("the part {part:?} changes settings of the server; leave out --database-url");
        }
        Ok(Self {
            wrk: Wrk::find()?,
            programs: Programs::find()?,
            store: args.store.as_deref().map(Store::open).transpose()?,
            // Last, since it takes minutes.
            earlier: args.against.as_deref().map(Earlier::build).transpose()?,
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
    let Some(earlier) = &needs.earlier else { return Ok(()) };
    let check = Check::of(&report, &earlier.commit)?;
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

async fn measure(args: &Args, Needs { wrk, programs, earlier, .. }: &Needs) -> anyhow::Result<Report> {
    let mut plan = Plan::from(args);
    plan.against = earlier.as_ref().map(|earlier| earlier.commit.clone());
    let machine = Machine::read()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let url = args.database_url.as_deref();
    let database = Database::start(url, args.postgres_bin.clone(), plan.databases_beside()).await?;
    // The servers end with the future that holds them, before the database does.
    let outcome = tokio::select! {
        found = parts::measure(&plan, wrk, programs, earlier.as_ref(), &database) => found,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    let facts = database.facts().await;
    database.stop().await?;
    Ok(Report::new(outcome?, plan, machine, facts?, wrk.description()))
}
