//! Loads a running analyticsd the way its users do, and proves its own result: whether every acknowledged event was counted, once, and
//! seen by every later read.
//!
//! - `settings` reads the command line, `token` what it says of a token;
//! - `kind`, `mix` and `visitors` choose what is asked, and know nothing of HTTP; `replay` takes it from a file instead;
//! - `schedule` says when, `traffic` asks it through goose and checks each answer;
//! - `ledger` knows what must be counted, `recorder` what was measured;
//! - `verdict` compares the ledger with the daemon, `gates` the figures with what was asked for, `report` says it all;
//! - `run` puts these together, `progress` tells meanwhile, `logging` keeps what goose says apart.
//!
//! Exit codes: 0 if everything was counted and every gate was met, 1 if not, 2 if there was no run or its reports could not be written.

mod gates;
mod kind;
mod ledger;
mod logging;
mod mix;
mod progress;
mod recorder;
mod replay;
mod report;
mod retries;
mod run;
mod schedule;
mod settings;
mod traffic;
mod verdict;
mod visitors;

use std::{io::Write, process::ExitCode};

use clap::Parser;

use crate::{run::Judged, settings::Args};

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Args::parse().into_settings();
    logging::install();
    match run::run(settings).await {
        Ok(Judged { report, unwritten }) => {
            // Whoever reads this may be gone, which changes nothing about the verdict.
            let _ = write!(std::io::stdout(), "{report}");
            if let Some(error) = &unwritten {
                logging::talk(&format!("error: {error}"));
            }
            match unwritten {
                _ if !report.passed() => ExitCode::FAILURE,
                Some(_) => ExitCode::from(2),
                None => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            logging::talk(&format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}
