//! The variables of the environment.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use super::{
    definition::Wrong,
    given::{Given, Source},
    nearest::nearest,
    settings,
};

const PREFIX: &str = "ANALYTICSD_";

/// Variables by name, without empty ones, which count as not set.
pub(super) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub(super) fn of_this_process() -> Self {
        Self::of(env::vars_os())
    }

    pub(super) fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The file of settings, if a variable names it.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.0.get(OsStr::new(settings::CONFIG.variable)).map(PathBuf::from)
    }

    /// The settings that variables set.
    pub(super) fn given(&self) -> impl Iterator<Item = Given> {
        settings::ALL.iter().filter_map(|entry| {
            let value = self.0.get(OsStr::new(entry.about.variable))?;
            let wrong = value.to_str().is_none().then(|| Wrong::new("is not UTF-8", "a text in UTF-8"));
            let text = value.to_string_lossy().into_owned();
            Some(Given { entry, text, source: Source::Variable(entry.about.variable), wrong })
        })
    }

    /// Warnings about variables with the daemon's prefix that are no settings. Another program may have set them, so
    /// they are no faults.
    pub(super) fn warnings(&self) -> Vec<String> {
        let known = || settings::ALL.iter().map(|entry| entry.about.variable).chain([settings::CONFIG.variable]);
        let names = self.0.keys().map(|name| name.to_string_lossy());
        let unknown = names.filter(|name| name.starts_with(PREFIX) && !known().any(|known| known == name));
        unknown
            .map(|name| {
                let hint = nearest(&name, known()).map(|known| format!("; {known} is near")).unwrap_or_default();
                format!("{name} is set, but there is no such setting{hint}")
            })
            .collect()
    }
}
