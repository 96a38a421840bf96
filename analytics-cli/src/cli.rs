use std::{env, io::Write, process};

use clap::{ColorChoice, Parser, Subcommand};

use crate::{
    commands::{
        completions::CompletionsArgs, config::ConfigArgs, doctor::DoctorArgs, forget::ForgetArgs, import::ImportArgs,
        man::ManArgs, migrate::MigrateArgs, query::QueryArgs, retention::RetentionArgs, send::SendArgs, tail::TailArgs,
        token::TokenArgs, top::TopArgs, verify::VerifyArgs,
    },
    output::palette,
    settings::{SettingArgs, with_sources::WithSources},
};

const EXIT_CODES: &str = "\
Data goes to standard output, everything else to standard error.

Exit codes:
  0  success
  1  the answer is no: the server refused, migrations are pending or
     altered, lines of a file could not be read, hours differ from their
     raw events, or doctor found a problem
  2  the command could not run: wrong flags, an unreadable file, or a
     server or database that cannot be reached";

/// Sends events to analyticsd, asks it for counts, imports files, and looks after the database schema.
#[derive(Debug, Parser)]
#[command(name = "analytics-cli", version, after_help = EXIT_CODES, styles = palette::HELP)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) settings: WithSources<SettingArgs>,

    /// When to write in colour; auto is on a terminal, unless `NO_COLOR` is set, and always if `CLICOLOR_FORCE` is.
    #[arg(long, global = true, display_order = 103, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line. Where it asks for help or cannot be understood, this says so and ends the process.
    pub fn read() -> Self {
        palette::choose(palette::asked_for(env::args_os()));
        Self::try_parse().unwrap_or_else(|error| refuse(&error))
    }
}

/// Says what clap says, but for a password in what it repeats of the command line, and ends the process. The help, an error too, is no secret.
fn refuse(error: &clap::Error) -> ! {
    let said = error.render().to_string();
    let masked = db::mask_passwords_in(&said);
    if error.use_stderr() && masked != said {
        let _ = write!(std::io::stderr(), "{masked}");
        process::exit(error.exit_code());
    }
    error.exit()
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send one event.
    Send(SendArgs),
    /// Show the counts of an hour, or of every hour of a range.
    Query(QueryArgs),
    /// Show the busiest hours.
    Top(TopArgs),
    /// Show the current hour as it changes.
    Tail(TailArgs),
    /// Bring the database schema up to date, or look at it.
    Migrate(MigrateArgs),
    /// Show or set how long raw events are kept.
    Retention(RetentionArgs),
    /// Make, list or revoke the tokens that daemons ask for.
    Token(TokenArgs),
    /// Check every hour against its raw events, and repair those that differ.
    ///
    /// The raw events of each hour are counted anew and compared with its counters and kept user names while it is open, and with
    /// the hourly aggregate once it is settled. Hours that differ are printed. The daemon may run meanwhile.
    ///
    /// Exits 0 if all hours agree or, with --repair, if all that differ agree after it; else 1.
    Verify(VerifyArgs),
    /// Delete a visitor's raw events, and count the hours that had them anew.
    ///
    /// Shows the hours in which the visitor has raw events and, with --yes, deletes those and rebuilds each hour from what is left of it. The
    /// daemon may run meanwhile; what it stores of the visitor afterwards, also from a spool, is kept until the command is given again. It does not reach
    /// rejected.ndjson in the folders of spools, which holds what could never be stored. Hours whose raw events are no longer kept have counts that name
    /// nobody, and stay as they are.
    ///
    /// Exits 0, or 1 if an hour still counts the visitor because its other raw events are no longer kept.
    Forget(ForgetArgs),
    /// Import events from files.
    Import(ImportArgs),
    /// Show which settings apply, and where each comes from.
    Config(ConfigArgs),
    /// Look for what is wrong with the server and its database.
    ///
    /// Each check is a line: how it is, what was seen and, unless all is well, what to do next. Checks of the database need --database-url.
    /// Nothing is changed.
    ///
    /// Exits 0 if no problem was found, though there may be warnings; else 1.
    Doctor(DoctorArgs),
    /// Print a script that completes this command's words in a shell.
    Completions(CompletionsArgs),
    /// Write a manual page for each command.
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser, error::ErrorKind};

    use super::Cli;

    #[test]
    fn the_flags_do_not_contradict_one_another() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_server_is_accepted_before_and_after_the_command() {
        for arguments in [
            ["analytics-cli", "--server", "http://counter:1", "query"],
            ["analytics-cli", "query", "--server", "http://counter:1"],
        ] {
            let cli = Cli::try_parse_from(arguments).unwrap();
            assert_eq!(cli.settings.args.server.unwrap().to_string(), "http://counter:1");
        }
    }

    #[test]
    fn what_contradicts_itself_or_lacks_something_is_a_usage_error() {
        let table: [(&[&str], ErrorKind); 16] = [
            (&["query", "--at", "now", "--from", "now", "--to", "now"], ErrorKind::ArgumentConflict),
            (&["query", "--from", "now"], ErrorKind::MissingRequiredArgument),
            (&["query", "--last", "24h", "--at", "now"], ErrorKind::ArgumentConflict),
            (&["query", "--last", "a day"], ErrorKind::ValueValidation),
            (&["query", "--plot", "--format", "csv"], ErrorKind::ArgumentConflict),
            (&["query", "--at", "yesterday"], ErrorKind::ValueValidation),
            (&["query", "--server", "ftp://counter"], ErrorKind::ValueValidation),
            (&["send", "--user", "ann", "--event", "Click"], ErrorKind::ValueValidation),
            (&["import", "--format", "csv"], ErrorKind::MissingRequiredArgument),
            (&["import", "--format", "csv", "--batch-size", "10001", "-"], ErrorKind::ValueValidation),
            (&["retention", "set"], ErrorKind::MissingRequiredArgument),
            (&["token", "create", "shop"], ErrorKind::MissingRequiredArgument),
            (&["token", "create", "shop", "--scope", "all"], ErrorKind::ValueValidation),
            (&["token", "create", "shop", "--public"], ErrorKind::MissingRequiredArgument),
            (
                &["token", "create", "shop", "--public", "--origin", "https://*.shop.example"],
                ErrorKind::ValueValidation,
            ),
            (&["token", "create", "a\nb", "--scope", "read"], ErrorKind::ValueValidation),
        ];
        for (arguments, kind) in table {
            let parsed = Cli::try_parse_from(["analytics-cli"].iter().chain(arguments));
            assert_eq!(parsed.unwrap_err().kind(), kind, "{arguments:?}");
        }
    }

    #[test]
    fn a_time_before_now_is_not_taken_for_a_flag() {
        for arguments in [["query", "--at", "-2h"], ["query", "--at=-2h", "--format=csv"]] {
            assert!(Cli::try_parse_from(["analytics-cli"].iter().chain(&arguments)).is_ok(), "{arguments:?}");
        }
    }
}
