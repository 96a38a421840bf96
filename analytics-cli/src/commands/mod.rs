//! One file per command.

pub(crate) mod completions;
pub(crate) mod import;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod query;
pub(crate) mod retention;
pub(crate) mod send;
pub(crate) mod tail;
pub(crate) mod top;
pub(crate) mod verify;

use crate::{
    cli::{Cli, Command},
    failure::{Failure, Verdict},
    server::Server,
};

/// Runs the command that was asked for.
pub(crate) async fn run(cli: Cli) -> Result<Verdict, Failure> {
    let server = || Server::new(cli.server);
    match cli.command {
        Command::Send(args) => send::run(args, &server()).await,
        Command::Query(args) => query::run(args, &server()).await,
        Command::Top(args) => top::run(args, &server()).await,
        Command::Tail(args) => tail::run(args, &server()).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Retention(args) => retention::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Import(args) => import::run(args, &server()).await,
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
