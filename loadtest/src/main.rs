//! Loads a running analyticsd as its users do, and checks whether every acknowledged event was counted, once, and
//! seen by every later read.
//!
//! - `run` puts these together, and `progress` reports meanwhile;
//! - `merge` judges several runs together, `baseline` reads earlier ones, `report` writes the results;
//! - `requests` writes the paths and bodies of requests;
//! - `traffic` makes the requests through goose and checks each answer;
//! - `checks` decides whether the run was right;
//! - `recorder` takes down what is `measured`, and `generator` what that costs; all of it is the `record` of a run;
//! - `settings` reads the command line;
//! - `hosts` knows where requests go, `trust` whose certificates are believed;
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
mod merge;
mod progress;
mod record;
mod recorder;
mod report;
mod requests;
mod run;
mod settings;
mod traffic;
mod trust;
mod workload;

use std::{env, error::Error, io::Write, process::ExitCode};

use clap::Parser;

use crate::{
    run::Judged,
    settings::{Args, Asked, Pipeline},
};

#[tokio::main]
async fn main() -> ExitCode {
    let asked = match Args::try_parse().and_then(Args::into_asked) {
        Ok(asked) => asked,
        Err(error) => {
            if error.use_stderr() {
                tell_pipeline(&error);
            }
            error.exit()
        }
    };
    let pipeline = asked.judging().pipeline.clone();
    logging::install();
    let outcome = match asked {
        Asked::Run(settings) => Box::pin(run::run(*settings)).await.map_err(Box::<dyn Error>::from),
        Asked::Merge(settings) => merge::merge(*settings).await.map(Judged::from).map_err(Box::from),
    };
    match outcome {
        Ok(Judged { report, failed }) => {
            // The reader may be gone. That does not change the verdict.
            let _ = write!(std::io::stdout(), "{report}");
            let unwritten = report.write_all();
            let errors = failed.iter().map(ToString::to_string).chain(unwritten.iter().map(ToString::to_string));
            for error in errors {
                logging::message(&format!("error: {error}"));
            }
            match failed {
                _ if !report.passed() => ExitCode::FAILURE,
                None if unwritten.is_empty() => ExitCode::SUCCESS,
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

/// What a pipeline reads says why the command line is wrong.
fn tell_pipeline(error: &clap::Error) {
    let words: Vec<String> = env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let pipeline = Pipeline::of_wrong(&words);
    let told = error.to_string();
    // Usage and advice follow an empty line.
    let reason = told.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let reason: Vec<&str> = reason.lines().map(str::trim).collect();
    // What cannot be written may be what is wrong. It is printed too.
    let _ = pipeline.prepare();
    pipeline.write_no_run(&reason.join(" "));
}
