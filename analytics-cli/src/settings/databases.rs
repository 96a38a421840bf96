//! Which databases hold the counter: one, or several that are its shards.

use std::fmt;

use db::embedded::running_url;

use super::{ChosenProfile, DatabaseArgs, ProfileError, Setting, Settings, Source, WithSources};

const EMBEDDED: &str = "--embedded";

/// The databases of a counter, shard 0 first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Databases {
    pub(crate) urls: Vec<String>,
    pub(crate) named: Named,
}

/// The setting that names databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Whether it is the one for shards.
    pub(crate) as_shards: bool,
    pub(crate) source: Source,
}

impl Default for Named {
    fn default() -> Self {
        Self { as_shards: false, source: Source::Default }
    }
}

impl fmt::Display for Named {
    /// Where a URL is to be corrected.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, self.as_shards) {
            (profile @ Source::Profile { .. }, false) => write!(f, "database_url of {profile}"),
            (profile @ Source::Profile { .. }, true) => write!(f, "shards of {profile}"),
            (Source::Flag(flag @ EMBEDDED), _) => f.write_str(flag),
            (_, false) => f.write_str("--database-url (or DATABASE_URL)"),
            (_, true) => f.write_str("--shard (or ANALYTICSD_SHARDS)"),
        }
    }
}

impl Settings {
    /// The databases that apply; none if none is named. A flag and a variable come before the profile.
    pub(crate) fn databases(&self, given: &WithSources<DatabaseArgs>) -> Result<Option<Databases>, ProfileError> {
        let of_profile = |one: bool| {
            let profile: &ChosenProfile = self.profile.as_ref()?;
            profile.setting(
                |values| if one { values.database_url.clone().map(|url| vec![url]) } else { values.shards.clone() },
            )
        };
        let url = given.setting("database_url", "--database-url", "DATABASE_URL", |args| args.database_url.clone());
        let url = url.map(|Setting { value, source }| Setting { value: vec![value], source });
        // A variable that is empty is as one that is not set, as for the daemon.
        let url = url.filter(|it| !matches!(it.source, Source::Environment(_)) || !it.value[0].is_empty());
        let shards = given.setting("shards", "--shard", "ANALYTICSD_SHARDS", |args| {
            let named = args.shards.iter().flat_map(|urls| urls.split_whitespace()).map(str::to_owned).collect();
            (!args.shards.is_empty()).then_some(named)
        });
        let shards = shards
            .filter(|it: &Setting<Vec<String>>| !matches!(it.source, Source::Environment(_)) || !it.value.is_empty());
        if let Some(dir) = &given.args.embedded {
            let sources = url.as_ref().map(|it| &it.source).into_iter().chain(shards.as_ref().map(|it| &it.source));
            if let Some(flag) = sources.into_iter().find(|source| matches!(source, Source::Flag(_))) {
                return Err(ProfileError::Contradiction(format!("{EMBEDDED} and {flag}")));
            }
            let named = Named { as_shards: false, source: Source::Flag(EMBEDDED) };
            return Ok(Some(Databases { urls: vec![running_url(dir)?], named }));
        }
        let (url, shards) = match (url, shards) {
            (None, None) => (of_profile(true), of_profile(false)),
            given => given,
        };
        match (url, shards) {
            (Some(url), Some(shards)) => Err(ProfileError::Contradiction(match url.source {
                source @ Source::Profile { .. } => format!("shards and database_url of {source}"),
                source => format!("{} and {source}", shards.source),
            })),
            (Some(Setting { value, source }), None) => {
                Ok(Some(Databases { urls: value, named: Named { as_shards: false, source } }))
            }
            (None, Some(Setting { value, source })) => {
                Ok(Some(Databases { urls: value, named: Named { as_shards: true, source } }))
            }
            (None, None) => Ok(None),
        }
    }
}
