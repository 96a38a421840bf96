//! The command line, made from the table.

use std::{env, ffi::OsString, io::Write, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    builder::StyledStr,
    error::{ContextKind, ContextValue},
};
use clap_complete::Shell;

use super::{
    ShowFormat, Task,
    definition::{About, Fallback, Form},
    environment::Environment,
    given::{Given, Source},
    settings,
    sources::Settings,
};

/// The task of this call, and every setting that was given.
pub struct Invocation {
    /// The task.
    pub task: Task,
    /// The settings from command line, environment and file.
    pub settings: Settings,
}

impl Invocation {
    /// Reads the command line and the other sources. If the command line asks for help or is invalid, this prints a
    /// message and ends the process.
    pub fn read() -> Self {
        let matches = command().try_get_matches().unwrap_or_else(|error| refuse(&hinted(error, env::args_os())));
        Self::of(&matches, &Environment::of_this_process())
    }

    /// The same from the sources of a test.
    #[cfg(test)]
    pub(super) fn from(
        arguments: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
        environment: &Environment,
    ) -> Result<Self, clap::Error> {
        Ok(Self::of(&command().try_get_matches_from(arguments)?, environment))
    }

    fn of(matches: &ArgMatches, environment: &Environment) -> Self {
        let task = match matches.subcommand() {
            Some(("config", matches)) => {
                Task::ShowConfig(matches.get_one::<ShowFormat>("format").copied().unwrap_or(ShowFormat::Table))
            }
            Some(("healthcheck", _)) => Task::Healthcheck,
            Some(("completions", matches)) => {
                Task::Completions(*matches.get_one("shell").expect("the command line asks for it"))
            }
            Some(("man", matches)) => {
                Task::Man(matches.get_one::<PathBuf>("dir").expect("the command line asks for it").clone())
            }
            _ => Task::Serve,
        };
        let text = |about: &About| {
            let given: Vec<&str> = matches.get_many::<String>(about.name)?.map(String::as_str).collect();
            Some(given.join("\n"))
        };
        let given = settings::ALL.iter().filter_map(|entry| {
            Some(Given { entry, text: text(entry.about)?, source: Source::Flag(entry.about.name), wrong: None })
        });
        let file = text(&settings::CONFIG).map(PathBuf::from);
        Self { task, settings: Settings::gather(given.collect(), environment, file) }
    }
}

/// The whole command line, also for manual pages and completions.
pub fn command() -> Command {
    let show_config = Command::new("config")
        .about("Show every setting with its value and its source, passwords masked, and every error in them")
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(clap::value_parser!(ShowFormat))
                .default_value("table")
                .help("The format of the output"),
        );
    let healthcheck = Command::new("healthcheck")
        .about("Ask the daemon that listens as these settings say whether it is ready; exit 1 if it is not")
        .long_about(
            "Ask the daemon that listens as these settings say whether it is ready: GET /readyz. Exit codes: 0 if it \
             is, or if it refuses this address for its rate (429); 1 if it is not, or does not answer; 2 for wrong \
             settings.",
        );
    let completions = Command::new("completions")
        .about("Print the completions of the command line for a shell")
        .arg(Arg::new("shell").required(true).value_name("SHELL").value_parser(clap::value_parser!(Shell)));
    let man = Command::new("man").about("Write manual pages, one for each command").arg(
        Arg::new("dir")
            .required(true)
            .value_name("DIR")
            .value_parser(clap::value_parser!(PathBuf))
            .help("The folder to write them to; it is created if needed"),
    );
    Command::new("analyticsd")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Records visitors' clicks and impressions, and answers for any hour with its exact unique users, clicks \
             and impressions",
        )
        .long_about(
            "Records visitors' clicks and impressions, and answers for any hour with its exact unique users, clicks \
             and impressions.\n\nEvery setting can also be given by the environment variable named beside it, and in \
             the file that --config names. The command line wins over the environment, and the environment over the \
             file. An empty variable counts as not set.",
        )
        .after_help(
            "Exit codes: 0 after an orderly stop; 1 if it could not start or failed; 2 for a wrong command line or \
             other wrong settings. All errors in the settings are listed.",
        )
        .args([flag(&settings::CONFIG)])
        .args(settings::ALL.iter().map(|entry| flag(entry.about)))
        .subcommands([show_config, healthcheck, completions, man])
}

/// Says how a value is given that was refused because it stands behind a flag that need not have one.
pub(super) fn hinted(mut error: clap::Error, arguments: impl IntoIterator<Item = OsString>) -> clap::Error {
    let refused = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|of| error.get(of));
    let Some(ContextValue::String(refused)) = refused else { return error };
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let flag = arguments.windows(2).find(|two| two[1].as_os_str() == refused.as_str()).map(|two| &two[0]);
    let about = settings::ALL.iter().map(|entry| entry.about).find(|about| {
        matches!(about.form, Form::ValueOr(_) | Form::Switch)
            && flag.is_some_and(|flag| *flag == *format!("--{}", about.name))
    });
    if let Some(About { name, value_name, .. }) = about {
        let tip = StyledStr::from(format!("the value follows an equals sign: --{name}={value_name}"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// Prints clap's error with passwords masked, since it repeats parts of the command line, and ends the process.
fn refuse(error: &clap::Error) -> ! {
    if let Some(masked) = masked(error) {
        let _ = write!(std::io::stderr(), "{masked}");
        std::process::exit(error.exit_code());
    }
    error.exit()
}

/// The text of an error with passwords masked; `None` if there are none. The help, which clap returns as an error, has
/// no secrets.
pub(super) fn masked(error: &clap::Error) -> Option<String> {
    let text = error.render().to_string();
    let masked = db::mask_passwords_in(&text);
    (error.use_stderr() && masked != text).then_some(masked)
}

fn flag(about: &About) -> Arg {
    let default = match about.default {
        Fallback::Text(text) => text,
        Fallback::Computed(_, words) | Fallback::Nothing(words) => words,
    };
    let flag = Arg::new(about.name)
        .long(about.name)
        .global(true)
        .action(ArgAction::Set)
        .value_name(about.value_name)
        .help_heading(about.topic.heading())
        .help(format!("{} [default: {default}]", about.help))
        .long_help(format!("{}\n\n[env: {}]\n[default: {default}]", about.help, about.variable));
    match about.form {
        Form::Value | Form::List => flag,
        Form::Shards => flag.action(ArgAction::Append),
        Form::ValueOr(missing) => flag.num_args(0..=1).require_equals(true).default_missing_value(missing),
        Form::Switch => flag.num_args(0..=1).require_equals(true).default_missing_value("true"),
    }
}
