//! The command line as people run it: `real_daemon`, `doctor`, `migrate` and `verify` with the real daemon and real
//! databases, the others against a small server that gives the answers, and breaks in the ways, that a test tells it
//! to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backfill;
mod cases;
mod color;
mod config;
mod doctor;
mod embedded;
mod follow;
mod fuzz;
mod import;
mod import_again;
mod migrate;
mod names;
mod odd_settings;
mod ordinary_owner;
mod profiles;
mod query;
mod real_daemon;
mod send;
mod server;
mod shards;
mod sites;
mod token;
mod usage;
mod verify;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use server::TestServer;

/// What a run left behind.
#[derive(Debug)]
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The command line without what the machine's own environment would add.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_analytics-cli"));
    command.args(arguments).env("NO_PROXY", "127.0.0.1").env("XDG_CONFIG_HOME", "/nowhere/to/be/found");
    for name in [
        "ANALYTICS_SERVER",
        "ANALYTICS_TOKEN",
        "ANALYTICS_PROFILE",
        "ANALYTICS_CONFIG",
        "DATABASE_URL",
        "ANALYTICSD_SHARDS",
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "COLUMNS",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs the command line against a server, with something on its standard input.
fn run(server: &TestServer, arguments: &[&str], input: &[u8]) -> Run {
    let mut child = command(arguments)
        .env("ANALYTICS_SERVER", server.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that stops early does not read the rest.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}
