use std::{ffi::OsStr, path::PathBuf};

use clap::{
    Arg, Args, Command,
    builder::{NonEmptyStringValueParser, TypedValueParser},
    error::ErrorKind,
};
use client::{InvalidServerUrl, ServerUrl};
use db::mask_password;
use model::{BearerTokenParser, GivenToken};

pub(super) const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// The flags that all commands share.
#[derive(Debug, Args)]
pub(crate) struct SettingArgs {
    /// Where analyticsd listens. Used by send, query, top, tail, import and doctor.
    #[arg(
        long,
        global = true,
        display_order = 100,
        value_name = "URL",
        env = "ANALYTICS_SERVER",
        hide_env_values = true,
        value_parser = ServerUrlParser,
        long_help = format!(
            "Where analyticsd listens. Used by send, query, top, tail, import and doctor. \
             Default: the profile's `server`, else {DEFAULT_SERVER}"
        )
    )]
    pub(crate) server: Option<ServerUrl>,

    /// The token for a server that requires one. Other users of this machine can see flags in the process list:
    /// prefer `ANALYTICS_TOKEN`, or `token` in a profile.
    #[arg(
        long,
        global = true,
        display_order = 100,
        value_name = "TOKEN",
        env = "ANALYTICS_TOKEN",
        hide_env_values = true,
        value_parser = BearerTokenParser
    )]
    pub(super) token: Option<GivenToken>,

    /// The profile with the values that neither flags nor the environment set.
    ///
    /// Default: the one that the configuration file names in `profile`, if any.
    #[arg(
        long,
        global = true,
        display_order = 101,
        value_name = "NAME",
        env = "ANALYTICS_PROFILE",
        hide_env_values = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(super) profile: Option<String>,

    /// The configuration file with the profiles.
    ///
    /// Default: analytics/config.toml in the folder `XDG_CONFIG_HOME` or, if that is not set, in ~/.config.
    #[arg(
        long,
        global = true,
        display_order = 102,
        value_name = "FILE",
        env = "ANALYTICS_CONFIG",
        hide_env_values = true
    )]
    pub(super) config: Option<PathBuf>,
}

/// For the commands that use the database itself.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// The database, as postgres://USER:PASSWORD@HOST:PORT/DATABASE.
    #[arg(long, global = true, display_order = 99, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(super) database_url: Option<String>,

    /// One of several databases that hold the counter together; given once for each, shard 0 first, in place of
    /// --database-url. In the environment they stand with blanks between them.
    #[arg(
        long = "shard",
        global = true,
        display_order = 99,
        value_name = "URL",
        env = "ANALYTICSD_SHARDS",
        hide_env_values = true
    )]
    pub(super) shards: Vec<String>,

    /// The trial database that `analyticsd --embedded=DIR` runs, in place of --database-url [default DIR: .analytics].
    #[arg(
        long,
        global = true,
        display_order = 99,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ".analytics"
    )]
    pub(super) embedded: Option<PathBuf>,
}

/// Masks a password in its errors, where clap's own parsers repeat what was given.
#[derive(Debug, Clone)]
struct ServerUrlParser;

impl TypedValueParser for ServerUrlParser {
    type Value = ServerUrl;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<ServerUrl, clap::Error> {
        let text = value.to_string_lossy();
        text.parse().map_err(|error: InvalidServerUrl| {
            let flag = flag.map(Arg::to_string).unwrap_or_default();
            // A password is found behind a scheme.
            let masked =
                if text.contains("://") { mask_password(&text) } else { mask_password(&format!("http://{text}")) };
            let message = format!("invalid value '{masked}' for '{flag}': {error}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}
