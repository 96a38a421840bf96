use std::{env, ffi::OsString, io::Write, process};

use clap::{
    ColorChoice, Parser,
    builder::StyledStr,
    error::{ContextKind, ContextValue},
};

use crate::{
    commands::Command,
    output::palette,
    settings::{SettingArgs, WithSources},
};

const EXIT_CODES: &str = "\
Data goes to standard output, everything else to standard error.

Exit codes:
  0  success
  1  the server refused, migrations are pending or altered, lines of a
     file could not be read, hours differ from their raw events, or
     doctor found a problem
  2  the command could not run: wrong flags, an unreadable file, or a
     server or database that cannot be reached";

/// Sends events to analyticsd, shows counts, imports files, and maintains the database.
#[derive(Debug, Parser)]
#[command(name = "analytics-cli", version, after_help = EXIT_CODES, styles = palette::HELP)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) settings: WithSources<SettingArgs>,

    /// When to write in colour. auto: on a terminal, unless `NO_COLOR` is set, and always if `CLICOLOR_FORCE` is set.
    #[arg(long, global = true, display_order = 103, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line. If it asks for help or is wrong, this prints the help or the error and ends the process.
    pub fn read() -> Self {
        palette::choose(palette::asked_for(env::args_os()));
        Self::try_parse().unwrap_or_else(|error| refuse(&hinted(error, env::args_os())))
    }
}

/// Says how a folder is given to --embedded, if it was refused behind a blank, where it would be taken for something else by some commands.
fn hinted(mut error: clap::Error, arguments: impl IntoIterator<Item = OsString>) -> clap::Error {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let refused = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(refused)) => OsString::from(refused),
        _ => return error,
    };
    if arguments.windows(2).any(|two| two[0] == "--embedded" && two[1] == refused) {
        let tip = StyledStr::from("the folder follows an equals sign: --embedded=DIR");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// Prints clap's text and ends the process. An error repeats parts of the command line, so passwords in it are masked.
fn refuse(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    let masked = db::mask_passwords_in(&text);
    if error.use_stderr() && masked != text {
        let _ = write!(std::io::stderr(), "{masked}");
        process::exit(error.exit_code());
    }
    error.exit()
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
            (&["query", "--to", "now"], ErrorKind::MissingRequiredArgument),
            (&["query", "--last", "24h", "--at", "now"], ErrorKind::ArgumentConflict),
            (&["query", "--last", "a day"], ErrorKind::ValueValidation),
            (&["query", "--plot", "--format", "csv"], ErrorKind::ArgumentConflict),
            (&["query", "--at", "tomorrow"], ErrorKind::ValueValidation),
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
    fn a_folder_behind_embedded_and_a_blank_is_refused_with_how_it_is_given() {
        let refused = |arguments: [&'static str; 4]| {
            let error = Cli::try_parse_from(arguments).unwrap_err();
            super::hinted(error, arguments.map(Into::into)).render().to_string()
        };
        let folder = refused(["analytics-cli", "doctor", "--embedded", "trial"]);
        assert!(folder.contains("--embedded=DIR"), "{folder}");
        let other = refused(["analytics-cli", "doctor", "trial", "--embedded"]);
        assert!(!other.contains("--embedded=DIR"), "{other}");
    }

    #[test]
    fn a_time_before_now_is_not_taken_for_a_flag() {
        for arguments in [["query", "--at", "-2h"], ["query", "--at=-2h", "--format=csv"]] {
            assert!(Cli::try_parse_from(["analytics-cli"].iter().chain(&arguments)).is_ok(), "{arguments:?}");
        }
    }
}
