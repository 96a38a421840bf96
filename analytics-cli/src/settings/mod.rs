//! Which server, database and profile apply: a flag before the environment, the environment before the profile, the profile before what is
//! built in.

pub(crate) mod config_file;
pub(crate) mod with_sources;

use std::{fmt, path::PathBuf};

use clap::{Args, builder::NonEmptyStringValueParser};
use model::{BearerToken, BearerTokenParser, GivenToken};
use thiserror::Error;

use crate::{
    database::DatabaseArgs,
    server::{Access, ServerUrl, ServerUrlParser},
    settings::{
        config_file::{ConfigFile, ConfigFileError, Profile},
        with_sources::WithSources,
    },
};

/// Where analyticsd listens unless something else is said.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// What every command may be told about where to go.
#[derive(Debug, Args)]
pub(crate) struct SettingArgs {
    /// Where analyticsd listens, for the commands that speak to it: send, query, top, tail, import and doctor.
    #[arg(
        long,
        global = true,
        display_order = 100,
        value_name = "URL",
        env = "ANALYTICS_SERVER",
        hide_env_values = true,
        value_parser = ServerUrlParser,
        long_help = format!(
            "Where analyticsd listens, for the commands that speak to it: send, query, top, tail, import and doctor. \
             Without it, what the profile says, else {DEFAULT_SERVER}"
        )
    )]
    pub(crate) server: Option<ServerUrl>,

    /// The token for a server that asks for one; other users of this machine may see it among the processes, so rather set `ANALYTICS_TOKEN` or give
    /// a profile a `token`.
    #[arg(
        long,
        global = true,
        display_order = 100,
        value_name = "TOKEN",
        env = "ANALYTICS_TOKEN",
        hide_env_values = true,
        value_parser = BearerTokenParser
    )]
    pub(crate) token: Option<GivenToken>,

    /// The profile that says what neither flags nor environment do.
    ///
    /// Without it, the one that the configuration file names in `profile`, if any.
    #[arg(
        long,
        global = true,
        display_order = 101,
        value_name = "NAME",
        env = "ANALYTICS_PROFILE",
        hide_env_values = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    profile: Option<String>,

    /// The configuration file, which holds the profiles.
    ///
    /// Without it, analytics/config.toml below the folder `XDG_CONFIG_HOME` or, where that is not set, below ~/.config.
    #[arg(
        long,
        global = true,
        display_order = 102,
        value_name = "FILE",
        env = "ANALYTICS_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
}

/// A value, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A flag on the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
    /// A profile of the configuration file.
    Profile {
        /// Its name.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// The configuration file itself.
    File(PathBuf),
    /// It is built in.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::Profile { name, file } => write!(f, "profile {name} in {}", file.display()),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A profile that was asked for and is not there.
#[derive(Debug, Error)]
pub(crate) enum ProfileError {
    /// The configuration file cannot be used.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// The file does not have the profile.
    #[error("{file} has no profile {name}, which {asked_by} asks for; {accepted}", file = .file.display())]
    NotThere {
        /// The file.
        file: PathBuf,
        /// The profile.
        name: String,
        /// What asks for it.
        asked_by: Source,
        /// The profiles that there are.
        accepted: String,
    },
    /// There is no file.
    #[error(
        "{asked_by} asks for the profile {name}, but there is no configuration file{place}; write one, or name it with --config"
    )]
    NoFile {
        /// The profile.
        name: String,
        /// What asks for it.
        asked_by: Source,
        /// Where the file was looked for.
        place: String,
    },
}

/// What applies.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The configuration file.
    pub(crate) file: ConfigFile,
    /// The profile that was chosen, if any.
    pub(crate) profile: Option<ChosenProfile>,
    /// Where analyticsd is.
    pub(crate) server: Setting<ServerUrl>,
    /// What opens it, if anything does.
    pub(crate) token: Option<Setting<BearerToken>>,
}

/// A profile that applies.
#[derive(Debug)]
pub(crate) struct ChosenProfile {
    /// Its name, and what chose it.
    pub(crate) name: Setting<String>,
    values: Profile,
    file: PathBuf,
}

impl Settings {
    /// Reads the configuration file, and sets what was given above it.
    pub(crate) fn resolve(given: &WithSources<SettingArgs>) -> Result<Self, ProfileError> {
        let file = ConfigFile::read(given.args.config.as_deref())?;
        let asked = given.setting("profile", "--profile", "ANALYTICS_PROFILE", |args| args.profile.clone());
        let profile = match asked.or_else(|| file.default_profile()) {
            Some(name) => Some(ChosenProfile::find(name, &file)?),
            None => None,
        };
        let server = given.setting("server", "--server", "ANALYTICS_SERVER", |args| args.server.clone());
        let server =
            server.or_else(|| profile.as_ref()?.setting(|values| values.server.clone())).unwrap_or_else(|| Setting {
                value: DEFAULT_SERVER.parse().expect("the default is a valid address"),
                source: Source::Default,
            });
        // A token belongs to the server that made it, so one of a profile is not shown to a server that something else named.
        let token = given.setting("token", "--token", "ANALYTICS_TOKEN", |args| args.token.as_ref()?.0.clone());
        let token = token.or_else(|| match server.source {
            Source::Flag(_) | Source::Environment(_) => None,
            _ => profile.as_ref()?.setting(|values| values.token.clone()),
        });
        Ok(Self { file, profile, server, token })
    }

    /// How to get to the server.
    pub(crate) fn access(self) -> Access {
        Access { server: self.server, token: self.token }
    }

    /// Which database applies, if any does.
    pub(crate) fn database_url(&self, given: &WithSources<DatabaseArgs>) -> Option<Setting<String>> {
        let url = given.setting("database_url", "--database-url", "DATABASE_URL", |args| args.database_url.clone());
        url.or_else(|| self.profile.as_ref()?.setting(|values| values.database_url.clone()))
    }
}

impl ChosenProfile {
    fn find(name: Setting<String>, file: &ConfigFile) -> Result<Self, ProfileError> {
        let Setting { value, source: asked_by } = &name;
        let (Some(path), Some(content)) = (&file.path, &file.content) else {
            let place = file.path.as_deref().map(|path| format!(" at {}", path.display())).unwrap_or_default();
            return Err(ProfileError::NoFile { name: value.clone(), asked_by: asked_by.clone(), place });
        };
        let Some(values) = content.profiles.get(value) else {
            return Err(ProfileError::NotThere {
                file: path.clone(),
                name: value.clone(),
                asked_by: asked_by.clone(),
                accepted: accepted(&file.profile_names()),
            });
        };
        Ok(Self { values: values.clone(), file: path.clone(), name })
    }

    fn setting<T>(&self, value: impl FnOnce(&Profile) -> Option<T>) -> Option<Setting<T>> {
        let source = Source::Profile { name: self.name.value.clone(), file: self.file.clone() };
        value(&self.values).map(|value| Setting { value, source })
    }
}

impl ConfigFile {
    fn default_profile(&self) -> Option<Setting<String>> {
        let value = self.content.as_ref()?.profile.clone()?;
        Some(Setting { value, source: Source::File(self.path.clone()?) })
    }
}

impl<A> WithSources<A> {
    fn setting<T>(
        &self,
        name: &str,
        flag: &'static str,
        variable: &'static str,
        value: impl FnOnce(&A) -> Option<T>,
    ) -> Option<Setting<T>> {
        let source = if self.is_from_environment(name) { Source::Environment(variable) } else { Source::Flag(flag) };
        value(&self.args).map(|value| Setting { value, source })
    }
}

fn accepted(names: &[&str]) -> String {
    match names {
        [] => "it has no profile at all: add a table [profiles.NAME]".to_owned(),
        names => format!("accepted is {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::{Args, Command, FromArgMatches};

    use super::{SettingArgs, Settings};
    use crate::{database::DatabaseArgs, settings::with_sources::WithSources};

    const FILE: &str = "
        profile = \"here\"
        [profiles.here]
        server = \"http://here\"
        [profiles.there]
        server = \"http://there\"
        database_url = \"postgres://there/db\"
    ";

    /// What applies with these arguments, as name, value and source, or what is wrong. Variables of the environment are not looked at here: they
    /// belong to the whole process, and tests of the program cover them.
    fn resolve(file: Option<&str>, arguments: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        file.inspect(|text| fs::write(&path, text).unwrap());
        let flags = DatabaseArgs::augment_args(SettingArgs::augment_args(Command::new("test")));
        let flags = flags.mut_args(|flag| flag.env(None));
        let named = ["test", "--config", path.to_str().unwrap()];
        let matches = flags.get_matches_from(named.iter().chain(arguments));
        let given = WithSources::<SettingArgs>::from_arg_matches(&matches).unwrap();
        let database = WithSources::<DatabaseArgs>::from_arg_matches(&matches).unwrap();
        let told = Settings::resolve(&given).map_or_else(
            |error| error.to_string(),
            |settings| {
                let server = format!("{} by {}", settings.server.value, settings.server.source);
                let database = settings.database_url(&database);
                let database = database.map_or("none".to_owned(), |url| format!("{} by {}", url.value, url.source));
                format!("{server}; {database}")
            },
        );
        told.replace(Path::new(&path).to_str().unwrap(), "FILE")
    }

    #[test]
    fn a_flag_comes_before_the_profile_and_the_profile_before_the_default() {
        for (file, arguments, expected) in [
            (FILE, &[][..], "http://here by profile here in FILE; none"),
            (
                FILE,
                &["--profile", "there"],
                "http://there by profile there in FILE; postgres://there/db by profile there in FILE",
            ),
            (FILE, &["--server", "http://flag"], "http://flag by --server; none"),
            (
                FILE,
                &["--profile", "there", "--database-url", "postgres://flag/db"],
                "http://there by profile there in FILE; postgres://flag/db by --database-url",
            ),
            ("", &[], "http://127.0.0.1:8080 by default; none"),
            ("[profiles.empty]", &["--profile", "empty"], "http://127.0.0.1:8080 by default; none"),
        ] {
            assert_eq!(resolve(Some(file), arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn a_profile_that_is_not_there_is_refused_with_those_that_are() {
        for (file, arguments, expected) in [
            (FILE, &["--profile", "x"][..], "FILE has no profile x, which --profile asks for; accepted is here, there"),
            (
                "profile = \"x\"",
                &[],
                "FILE has no profile x, which FILE asks for; it has no profile at all: add a table [profiles.NAME]",
            ),
        ] {
            assert_eq!(resolve(Some(file), arguments), expected, "{arguments:?}");
        }
        assert!(resolve(None, &[]).starts_with("cannot read FILE: "));
    }
}
