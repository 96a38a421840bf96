//! Which server, database and profile apply: a flag comes before the environment, the environment before the profile,
//! the profile before the default.

mod args;
mod config_file;
mod databases;
mod with_sources;

use std::{fmt, path::PathBuf};

use client::{Client, ServerUrl};
use db::embedded::NotRunning;
use model::BearerToken;
use thiserror::Error;

use self::config_file::{ConfigFileError, Profile};
pub(crate) use self::{
    args::{DatabaseArgs, SettingArgs},
    config_file::ConfigFile,
    databases::{Databases, Named},
    with_sources::WithSources,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Environment(&'static str),
    Profile { name: String, file: PathBuf },
    File(PathBuf),
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

#[derive(Debug, Error)]
pub(crate) enum ProfileError {
    #[error(transparent)]
    File(#[from] ConfigFileError),
    #[error("{file} has no profile {name}, which {asked_by} names; {accepted}", file = .file.display())]
    NotThere { file: PathBuf, name: String, asked_by: Source, accepted: String },
    #[error(
        "{asked_by} names the profile {name}, but there is no configuration file{place}; write one, or give its path with --config"
    )]
    NoFile { name: String, asked_by: Source, place: String },
    #[error("{0}: contradict each other; accepted is one of the two")]
    Contradiction(String),
    #[error(transparent)]
    NotRunning(#[from] NotRunning),
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) file: ConfigFile,
    pub(crate) profile: Option<ChosenProfile>,
    pub(crate) server: Setting<ServerUrl>,
    pub(crate) token: Option<Setting<BearerToken>>,
}

#[derive(Debug)]
pub(crate) struct ChosenProfile {
    pub(crate) name: Setting<String>,
    values: Profile,
    file: PathBuf,
}

impl Settings {
    /// Reads the configuration file. What was given comes before what it holds.
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
                value: args::DEFAULT_SERVER.parse().expect("the default is a valid address"),
                source: Source::Default,
            });
        // A token belongs to the server that made it, so a profile's token is not sent to a server from elsewhere.
        let token = given.setting("token", "--token", "ANALYTICS_TOKEN", |args| args.token.as_ref()?.0.clone());
        let token = token.or_else(|| match server.source {
            Source::Flag(_) | Source::Environment(_) => None,
            _ => profile.as_ref()?.setting(|values| values.token.clone()),
        });
        Ok(Self { file, profile, server, token })
    }

    pub(crate) fn client(self) -> Client {
        Client::new(self.server.value, self.token.as_ref().map(|token| &token.value))
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
        [] => "it has no profiles: add a table [profiles.NAME]".to_owned(),
        names => format!("it has {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::{Args, Command, FromArgMatches};

    use super::{DatabaseArgs, Databases, SettingArgs, Settings, WithSources};

    const FILE: &str = "
        profile = \"here\"
        [profiles.here]
        server = \"http://here\"
        [profiles.there]
        server = \"http://there\"
        database_url = \"postgres://there/db\"
        [profiles.several]
        shards = [\"postgres://a/db\", \"postgres://b/db\"]
        [profiles.both]
        shards = [\"postgres://a/db\"]
        database_url = \"postgres://b/db\"
    ";

    /// The settings that result from these arguments, or the error. Variables of the environment belong to the whole
    /// process, so tests of the program cover them.
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
        let text = Settings::resolve(&given).map_or_else(
            |error| error.to_string(),
            |settings| {
                let server = format!("{} by {}", settings.server.value, settings.server.source);
                let databases = settings.databases(&database).map(|databases| {
                    let described = |it: Databases| format!("{} by {}", it.urls.join(" "), it.named.source);
                    databases.map_or("none".to_owned(), described)
                });
                format!("{server}; {}", databases.unwrap_or_else(|error| error.to_string()))
            },
        );
        text.replace(Path::new(&path).to_str().unwrap(), "FILE")
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
            (
                FILE,
                &["--profile", "several"],
                "http://127.0.0.1:8080 by default; postgres://a/db postgres://b/db by profile several in FILE",
            ),
            (
                FILE,
                &["--profile", "there", "--shard", "postgres://a/db", "--shard", "postgres://b/db"],
                "http://there by profile there in FILE; postgres://a/db postgres://b/db by --shard",
            ),
            (
                FILE,
                &["--profile", "both"],
                "http://127.0.0.1:8080 by default; shards and database_url of profile both in FILE: contradict each other; accepted is one of \
                 the two",
            ),
            (
                FILE,
                &["--shard", "postgres://a/db", "--database-url", "postgres://b/db"],
                "http://here by profile here in FILE; --shard and --database-url: contradict each other; accepted is one of the two",
            ),
            (
                FILE,
                &["--embedded=/nowhere", "--database-url", "postgres://b/db"],
                "http://here by profile here in FILE; --embedded and --database-url: contradict each other; accepted is one of the two",
            ),
            (
                FILE,
                &["--embedded=/nowhere"],
                "http://here by profile here in FILE; no trial database runs in /nowhere; start it with `analyticsd --embedded=/nowhere`, or give \
                 the folder of the one that runs with --embedded=DIR",
            ),
            ("", &[], "http://127.0.0.1:8080 by default; none"),
            ("[profiles.empty]", &["--profile", "empty"], "http://127.0.0.1:8080 by default; none"),
        ] {
            assert_eq!(resolve(Some(file), arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn an_unknown_profile_is_refused_with_the_known_ones() {
        for (file, arguments, expected) in [
            (
                FILE,
                &["--profile", "x"][..],
                "FILE has no profile x, which --profile names; it has both, here, several, there",
            ),
            (
                "profile = \"x\"",
                &[],
                "FILE has no profile x, which FILE names; it has no profiles: add a table [profiles.NAME]",
            ),
        ] {
            assert_eq!(resolve(Some(file), arguments), expected, "{arguments:?}");
        }
        assert!(resolve(None, &[]).starts_with("cannot read FILE: "));
    }
}
