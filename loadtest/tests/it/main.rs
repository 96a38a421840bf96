//! The harness as people run it: against the real daemon, and against servers that break the promises that it checks.

#![allow(clippy::unwrap_used)]

mod batches;
mod bottleneck;
mod comparing;
mod dashboard;
mod hosts;
mod liar;
mod liars;
mod load_gate;
mod merging;
mod pages;
mod pipeline;
mod plans;
mod proxy;
mod real_daemon;
mod rolling;
mod sites;
mod tls;
mod usage;

use std::process::Output;

use tokio::process::Command;

fn loadtest() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.kill_on_drop(true).env_remove("ANALYTICS_TOKEN");
    // These runs are not what a pipeline that runs the tests shall show.
    command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY");
    command
}

async fn load(host: &str, arguments: &[&str]) -> Output {
    loadtest().args(["--host", host, "--users", "4"]).args(arguments).output().await.unwrap()
}

/// The exit code, and everything that was printed.
fn result_of(output: &Output) -> (Option<i32>, String) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), format!("{stdout}{stderr}"))
}
