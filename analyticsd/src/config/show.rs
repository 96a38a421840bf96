//! The output of `analyticsd config`.

use clap::ValueEnum;
use serde::Serialize;

use super::{
    given::Source,
    settings::{self, Entry},
    sources::Settings,
};

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// Aligned columns.
    Table,
    /// One JSON document.
    Json,
}

/// A setting in the output. `None` means that it has no value.
#[derive(Serialize)]
struct Shown {
    setting: String,
    value: Option<String>,
    source: String,
}

impl Settings {
    /// Every setting with its value and its source, passwords masked.
    pub fn show(&self, format: ShowFormat) -> String {
        let shown = std::iter::once(self.shown_file()).chain(settings::ALL.iter().map(|entry| self.shown(entry)));
        let shown: Vec<Shown> = shown.collect();
        match format {
            ShowFormat::Table => columns(&shown),
            ShowFormat::Json => {
                let json = serde_json::to_string_pretty(&shown).expect("texts can be written as JSON");
                format!("{json}\n")
            }
        }
    }

    fn shown_file(&self) -> Shown {
        let file = self.file();
        let source = self.named_by().map_or(Source::Default.to_string(), Source::to_string);
        Shown {
            setting: settings::CONFIG.key(),
            value: file.map(|path| settings::CONFIG.shown(&path.display().to_string())),
            source,
        }
    }

    fn shown(&self, Entry { about, check }: &Entry) -> Shown {
        let url_of_file = || {
            let from = self.source(&settings::DATABASE_URL_FILE.about)?;
            Some((self.database_url()?, format!("the file of {from}")))
        };
        let given = self.effective(about).map(|(text, source)| (text, source.to_string()));
        let given =
            given.or_else(|| if about.name == settings::DATABASE_URL.about.name { url_of_file() } else { None });
        let (value, source) = match given {
            // Any part of an invalid URL may belong to a password that was not escaped.
            Some((text, source)) if about.mask.is_some() && check(&text).is_err() => (Some("***".to_owned()), source),
            Some((text, source)) => (Some(about.shown(&text)), source),
            None => (None, Source::Default.to_string()),
        };
        Shown { setting: about.key(), value, source }
    }
}

fn columns(shown: &[Shown]) -> String {
    let rows =
        shown.iter().map(|shown| [shown.setting.as_str(), shown.value.as_deref().unwrap_or("none"), &shown.source]);
    let rows: Vec<[&str; 3]> = [["setting", "value", "source"]].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (first, second) = (width(0), width(1));
    let lines = rows.iter().map(|[setting, value, source]| format!("{setting:first$}  {value:second$}  {source}\n"));
    lines.collect()
}
