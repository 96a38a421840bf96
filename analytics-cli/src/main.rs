//! The command line of the event counter. The library of this package holds the code and its map.

use std::process::ExitCode;

use analytics_cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::read()).await
}
