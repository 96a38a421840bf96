//! Collects the settings of all sources, and finds the one that applies.

use std::path::{Path, PathBuf};

use super::{
    definition::{About, Setting},
    environment::Environment,
    fault::Fault,
    file,
    given::{Given, Source},
    settings,
};

/// The settings of all sources.
pub struct Settings {
    /// Ordered from the strongest source to the weakest.
    pub(super) given: Vec<Given>,
    /// The faults of all sources, even if another source takes precedence.
    pub(super) faults: Vec<Fault>,
    /// Warnings, which are no faults.
    pub(super) warnings: Vec<String>,
    /// The file of settings, and the source that named it.
    file: Option<(PathBuf, Source)>,
}

impl Settings {
    /// Adds the settings of environment and file to those of the command line.
    pub(super) fn gather(mut given: Vec<Given>, environment: &Environment, file: Option<PathBuf>) -> Self {
        let mut faults = Vec::new();
        let mut warnings = environment.warnings();
        given.extend(environment.given());
        let named = match file {
            Some(path) => Some((path, Source::Flag(settings::CONFIG.name))),
            None => environment.file().map(|path| (path, Source::Variable(settings::CONFIG.variable))),
        };
        if let Some((path, named_by)) = &named {
            let in_file = file::read(path, named_by, &mut faults);
            warnings.extend(file::exposed(path, &in_file));
            given.extend(in_file);
        }
        let checked = given.iter_mut().filter_map(|Given { entry, text, source, wrong }| {
            // A text of the wrong form is not repeated: it may be a secret in the wrong place.
            if let Some(wrong) = wrong.take() {
                return Some(Fault::new(source.clone(), None, wrong));
            }
            let wrong = (entry.check)(text).err()?;
            Some(Fault::new(source.clone(), entry.about.mask.is_none().then(|| text.clone()), wrong))
        });
        // In the order of the sources.
        let mut checked: Vec<Fault> = checked.collect();
        checked.append(&mut faults);
        checked.sort_by_key(Fault::rank);
        Self { given, faults: checked, warnings, file: named }
    }

    /// The text that applies to a setting: from the strongest source, or its default.
    pub(super) fn effective(&self, about: &About) -> Option<(String, Source)> {
        let given = self.of(about).map(|given| (given.text.clone(), given.source.clone()));
        given.or_else(|| Some((about.default.text()?, Source::Default)))
    }

    /// The strongest source that sets a setting.
    pub(super) fn source(&self, about: &About) -> Option<&Source> {
        self.of(about).map(|given| &given.source)
    }

    /// The value of a setting; `None` if it has none, or if its text is wrong, which is one of the faults.
    pub(super) fn value<T>(&self, setting: &Setting<T>) -> Option<T> {
        (setting.parse)(&self.effective(&setting.about)?.0).ok()
    }

    /// The value of a setting that has a default, once there are no faults.
    pub(super) fn get<T>(&self, setting: &Setting<T>) -> T {
        self.value(setting).unwrap_or_else(|| panic!("{} has a value, since there are no faults", setting.about.name))
    }

    /// The file of settings.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// The source that named the file.
    pub(super) fn named_by(&self) -> Option<&Source> {
        self.file.as_ref().map(|(_, source)| source)
    }

    fn of(&self, about: &About) -> Option<&Given> {
        self.given.iter().find(|given| given.entry.about.name == about.name)
    }
}
