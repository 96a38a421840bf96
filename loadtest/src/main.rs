//! Loads a running analyticsd as its users do, and checks whether every acknowledged event was counted, once, and
//! seen by every later read.
//!
//! - `run` puts these together, `progress` reports meanwhile, `report` writes the results;
//! - `requests` writes the paths and bodies of requests;
//! - `traffic` makes the requests through goose and checks each answer;
//! - `checks` decides whether the run was right;
//! - `recorder` takes down what is `measured`, and `generator` what that costs; all of it is the `record` of a run;
//! - `settings` reads the command line;
//! - `hosts` knows where requests go;
//! - `workload` decides which requests are made, and when;
//! - `logging` keeps goose's log apart.
//!
//! Exit codes: 0 if everything was counted and every gate was met, 1 if not, 2 if there was no run or its reports
//! could not be written.

mod baseline;
mod checks;
mod generator;
mod hosts;
mod logging;
mod measured;
mod progress;
mod record;
mod recorder;
mod report;
mod requests;
mod run;
mod settings;
mod traffic;
mod workload;

use std::{io::Write, process::ExitCode};

use clap::Parser;

use crate::{run::Judged, settings::Args};

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Args::parse().into_settings();
    let pipeline = settings.judging.pipeline.clone();
    logging::install();
    match run::run(settings).await {
        Ok(Judged { report, unwritten }) => {
            // The reader may be gone. That does not change the verdict.
            let _ = write!(std::io::stdout(), "{report}");
            for error in &unwritten {
                logging::message(&format!("error: {error}"));
            }
            match &unwritten[..] {
                _ if !report.passed() => ExitCode::FAILURE,
                [] => ExitCode::SUCCESS,
                _ => ExitCode::from(2),
            }
        }
        Err(error) => {
            let error = error.to_string();
            logging::message(&format!("error: {error}"));
            for unwritten in pipeline.write_no_run(&error).iter().map(ToString::to_string) {
                // It may be why there was no run.
                if unwritten != error {
                    logging::message(&format!("error: {unwritten}"));
                }
            }
            ExitCode::from(2)
        }
    }
}
