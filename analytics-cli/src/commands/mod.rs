//! One file per command.

pub(crate) mod backfill;
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
pub(crate) mod shard;
pub(crate) mod site;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use self::{
    backfill::BackfillArgs, completions::CompletionsArgs, config::ConfigArgs, doctor::DoctorArgs, forget::ForgetArgs,
    import::ImportArgs, man::ManArgs, migrate::MigrateArgs, query::QueryArgs, retention::RetentionArgs, send::SendArgs,
    shard::ShardArgs, site::SiteArgs, tail::TailArgs, token::TokenArgs, top::TopArgs, verify::VerifyArgs,
};
use crate::{
    database::{Needs, with_databases},
    failure::Failure,
    settings::{DatabaseArgs, SettingArgs, Settings, WithSources},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send one event.
    Send(SendArgs),
    /// Show the counts of an hour, or of every hour, day, week or month of a range.
    ///
    /// Unique users are exact, also those of the whole range, which stand below the table. Hours and days are those of UTC unless
    /// --time-zone is given.
    Query(QueryArgs),
    /// Show the busiest hours, days, weeks or months of a range, which is the last 30 days unless another is given.
    Top(TopArgs),
    /// Show the current hour as it changes.
    Tail(TailArgs),
    /// Bring the database schema up to date, or show its state.
    Migrate(MigrateArgs),
    /// Show or set how long raw events are kept.
    Retention(RetentionArgs),
    /// List the databases of the counter, or prepare one to move to another server.
    Shard(ShardArgs),
    /// Make, list, rename, archive or delete sites, the counters that have a name.
    Site(SiteArgs),
    /// Make, list or revoke access tokens.
    Token(TokenArgs),
    /// Compare the counts of every hour with its raw events, and repair those that differ.
    ///
    /// The raw events of each hour are counted again. The counters and user names of an open hour, and the aggregate
    /// of a settled hour, must agree with them. The set of visitors that is kept of a settled hour must have as many
    /// as were settled, also where its raw events are gone. Hours that differ are printed. The daemon may run meanwhile.
    ///
    /// Exits 0 if all hours agree or, with --repair, if all agree afterwards; else 1.
    Verify(VerifyArgs),
    /// Make the sets of visitors of settled hours that have none, from their raw events.
    ///
    /// The unique users of a range are told from the sets of its settled hours. An hour that was settled before such
    /// sets were kept has none. The command makes them, an hour at a time, for the hours whose raw events are still
    /// kept, and counts the others. The daemon may run meanwhile, and the command may be repeated.
    ///
    /// Exits 0, or 1 if an hour stays without a set because its raw events have another number of visitors than was
    /// settled.
    Backfill(BackfillArgs),
    /// Delete a visitor's raw events, and count their hours again.
    ///
    /// Prints the hours in which the visitor has raw events. With --yes, deletes these events and rebuilds each hour
    /// from the events that remain. The daemon may run meanwhile. Events of the visitor that it stores later, also
    /// from a spool, stay until you run the command again.
    ///
    /// Events that can never be stored are written to `rejected.ndjson` in the spool's folder. `forget` does not
    /// search that file; search it yourself. Hours whose raw events were deleted keep their counts and their sets of
    /// visitors, which hold no names. With --yes the visitor's name is deleted, too, from the list of names that
    /// belong to the numbers in these sets.
    ///
    /// Exits 0, or 1 if an hour still counts the visitor because its other raw events were deleted.
    Forget(ForgetArgs),
    /// Import events from files.
    Import(ImportArgs),
    /// Show which settings apply, and where each comes from.
    Config(ConfigArgs),
    /// Find problems of the server and its database.
    ///
    /// Each check prints a line: the result, what was found and, unless all is well, what to do next. Checks of the
    /// database need --database-url, --embedded for that of a trial, or --shard for each of several. Nothing is changed.
    ///
    /// Exits 0 if there are no problems (warnings are allowed); else 1.
    Doctor(DoctorArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write a manual page for each command.
    Man(ManArgs),
}

/// Runs a command. The configuration file is read only for commands that need a server or a database. `program`
/// describes the whole command line.
pub(crate) async fn run(
    command: Command,
    given: &WithSources<SettingArgs>,
    program: fn() -> clap::Command,
) -> Result<ExitCode, Failure> {
    let settings = || Settings::resolve(given);
    let client = || Ok::<_, Failure>(settings()?.client());
    let databases = |given: &WithSources<DatabaseArgs>| Ok::<_, Failure>(settings()?.databases(given)?);
    match command {
        Command::Send(args) => send::run(args, client()?).await,
        Command::Query(args) => query::run(args, client()?).await,
        Command::Top(args) => top::run(args, client()?).await,
        Command::Tail(args) => tail::run(args, client()?).await,
        Command::Migrate(args) => {
            with_databases(databases(&args.database)?, Needs::AllOrNew, async |shards| migrate::run(args, shards).await)
                .await
        }
        Command::Retention(args) => {
            let needs = args.needs();
            with_databases(databases(&args.database)?, needs, async |shards| retention::run(args, shards).await).await
        }
        Command::Forget(args) => {
            with_databases(databases(&args.database)?, Needs::All, async |shards| forget::run(args, shards).await).await
        }
        Command::Shard(args) => {
            with_databases(databases(&args.database)?, Needs::Unchecked, async |shards| shard::run(args, shards).await)
                .await
        }
        Command::Site(args) => {
            with_databases(databases(&args.database)?, Needs::First, async |shards| site::run(args, shards).await).await
        }
        Command::Token(args) => {
            with_databases(databases(&args.database)?, Needs::First, async |shards| token::run(args, shards).await)
                .await
        }
        Command::Verify(args) => {
            args.check()?;
            with_databases(databases(&args.database)?, Needs::All, async |shards| verify::run(args, shards).await).await
        }
        Command::Backfill(args) => {
            with_databases(databases(&args.database)?, Needs::All, async |shards| backfill::run(args, shards).await)
                .await
        }
        Command::Import(args) => import::run(args, client()?).await,
        Command::Config(args) => config::run(&args, &settings()?),
        Command::Doctor(args) => doctor::run(args, settings()?).await,
        Command::Completions(args) => completions::run(&args, program()),
        Command::Man(args) => man::run(&args, program()),
    }
}
