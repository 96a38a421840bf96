//! Runs a command with `TEST_POSTGRES_URL` set to a private PostgreSQL server and `TEST_TIMESCALE_TEMPLATE` to a
//! TimescaleDB that tests copy, and ends with the command's exit code.
//!
//!     with-database cargo nextest run

use std::process::ExitCode;

use anyhow::{Context, bail};
use db::{Flavour, embedded::Embedded};
use harness::{TIMESCALE_TEMPLATE, embedded_options, make_timescale_template, server_dir};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else { bail!("usage: with-database COMMAND [ARGUMENT]...") };
    let dir = server_dir();
    let server = Embedded::start(&embedded_options(dir.path(), Flavour::Postgres)).await?;
    eprintln!("tests run on {}", server.description());
    let template = server_dir();
    make_timescale_template(template.path()).await.context("cannot make the TimescaleDB that tests copy")?;

    let status = tokio::process::Command::new(&program)
        .args(arguments)
        .env("TEST_POSTGRES_URL", server.url())
        .env(TIMESCALE_TEMPLATE, template.path())
        .status()
        .await
        .with_context(|| format!("cannot run {}", program.to_string_lossy()));
    server.stop().await?;
    Ok(status?.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
