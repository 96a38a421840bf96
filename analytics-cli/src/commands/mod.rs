//! One file per command.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod forget;
pub(crate) mod import;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod query;
pub(crate) mod retention;
pub(crate) mod send;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod verify;

use crate::{
    cli::{Cli, Command},
    database::{DatabaseArgs, with_database},
    failure::{Failure, Verdict},
    server::Server,
    settings::{Settings, with_sources::WithSources},
};

/// Runs the command that was asked for. The configuration file is read for those that need to know where to go.
pub(crate) async fn run(cli: Cli) -> Result<Verdict, Failure> {
    let settings = || Settings::resolve(&cli.settings);
    let server = || Ok::<_, Failure>(Server::new(settings()?.access()));
    let database_url = |given: &WithSources<DatabaseArgs>| Ok::<_, Failure>(settings()?.database_url(given));
    match cli.command {
        Command::Send(args) => send::run(args, &server()?).await,
        Command::Query(args) => query::run(args, &server()?).await,
        Command::Top(args) => top::run(args, &server()?).await,
        Command::Tail(args) => tail::run(args, &server()?).await,
        Command::Migrate(args) => {
            with_database(database_url(&args.database)?, async |store| migrate::run(args, store).await).await
        }
        Command::Retention(args) => {
            with_database(database_url(&args.database)?, async |store| retention::run(args, store).await).await
        }
        Command::Forget(args) => {
            with_database(database_url(&args.database)?, async |store| forget::run(args, store).await).await
        }
        Command::Token(args) => {
            with_database(database_url(&args.database)?, async |store| token::run(args, store).await).await
        }
        Command::Verify(args) => {
            with_database(database_url(&args.database)?, async |store| verify::run(args, store).await).await
        }
        Command::Import(args) => import::run(args, &server()?).await,
        Command::Config(args) => config::run(&args, &settings()?),
        Command::Doctor(args) => doctor::run(args, settings()?).await,
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
