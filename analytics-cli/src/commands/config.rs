use std::{path::Path, process::ExitCode};

use clap::Args;
use db::mask_password;
use serde::Serialize;

use crate::{
    failure::Failure,
    output::{
        self, ReportFormat,
        palette::Palette,
        table::{self, Side},
    },
    settings::{ConfigFile, DatabaseArgs, Databases, Setting, Settings, Source, WithSources},
};

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    /// The output format.
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    format: ReportFormat,
}

/// Connects to nothing.
pub(crate) fn run(args: &ConfigArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let applied = Applied::new(settings, settings.databases(&args.database)?.as_ref());
    output::print(&match args.format {
        ReportFormat::Table => applied.table(output::palette()),
        ReportFormat::Json => output::pretty_json(&applied),
    })?;
    if let Some(exposed) = settings.file.exposed_secret() {
        output::warn(&exposed);
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Applied<'a> {
    settings: [Shown; 5],
    file: Option<&'a Path>,
    file_is_there: bool,
    profiles: Vec<&'a str>,
}

/// Without a value, the setting is not set anywhere.
#[derive(Serialize)]
struct Shown {
    setting: &'static str,
    value: Option<String>,
    source: String,
}

impl<'a> Applied<'a> {
    fn new(settings: &'a Settings, databases: Option<&Databases>) -> Self {
        let Settings { file: ConfigFile { path, content }, profile, server, token } = settings;
        let masked = |as_shards: bool| {
            let Databases { urls, named } = databases.filter(|it| it.named.as_shards == as_shards)?;
            let urls: Vec<String> = urls.iter().map(|url| mask_password(url)).collect();
            Some(Setting { value: urls.join(" "), source: named.source.clone() })
        };
        Self {
            settings: [
                Shown::new("profile", profile.as_ref().map(|profile| profile.name.clone())),
                Shown::new(
                    "server",
                    Some(Setting { value: server.value.masked().to_string(), source: server.source.clone() }),
                ),
                Shown::new(
                    "token",
                    token.as_ref().map(|token| Setting { value: "***".to_owned(), source: token.source.clone() }),
                ),
                Shown::new("database_url", masked(false)),
                Shown::new("shards", masked(true)),
            ],
            file: path.as_deref(),
            file_is_there: content.is_some(),
            profiles: settings.file.profile_names(),
        }
    }

    fn table(&self, palette: Palette) -> String {
        let header = [("setting", Side::Left), ("value", Side::Left), ("source", Side::Left)];
        let rows: Vec<[String; 3]> = self.settings.iter().map(Shown::row).collect();
        let file = match (self.file, self.file_is_there) {
            (Some(path), true) => path.display().to_string(),
            (Some(path), false) => format!("{} (does not exist)", path.display()),
            (None, _) => "none: neither XDG_CONFIG_HOME nor HOME is set".to_owned(),
        };
        let profiles = if self.profiles.is_empty() { "none".to_owned() } else { self.profiles.join(", ") };
        format!("{}\nfile      {file}\nprofiles  {profiles}\n", table::layout(header, &rows, palette))
    }
}

impl Shown {
    fn new(setting: &'static str, value: Option<Setting<String>>) -> Self {
        let (value, source) = value.map_or((None, Source::Default), |Setting { value, source }| (Some(value), source));
        Self { setting, value, source: source.to_string() }
    }

    fn row(&self) -> [String; 3] {
        let value = self.value.clone().unwrap_or_else(|| "none".to_owned());
        [self.setting.to_owned(), value, self.source.clone()]
    }
}
