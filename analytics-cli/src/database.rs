use clap::Args;
use db::{Store, StoreOptions};

use crate::{
    failure::Failure,
    settings::{Setting, Source},
};

/// Which database, for the commands that speak to it themselves.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// The database, as postgres://USER:PASSWORD@HOST:PORT/DATABASE.
    #[arg(long, global = true, display_order = 99, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
}

/// How to give a database to a command that has none.
pub(crate) const HOW_TO_GIVE: &str = "add --database-url postgres://USER:PASSWORD@HOST:PORT/DATABASE, set DATABASE_URL, or give a profile a database_url";

/// Does something with a database, if one was given.
pub(crate) async fn with_database<T>(
    url: Option<Setting<String>>,
    call: impl AsyncFnOnce(&Store) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(Setting { value, source }) = url else {
        return Err(Failure::CannotRun(format!("no database was given; {HOW_TO_GIVE}")));
    };
    call(&open(&value, &source)?).await.map_err(|failure| failure.on_database(source))
}

/// Prepares to connect; nothing is opened yet.
pub(crate) fn open(url: &str, source: &Source) -> Result<Store, Failure> {
    let options =
        StoreOptions { application_name: "analytics-cli".to_owned(), max_connections: 1, ..StoreOptions::default() };
    Store::new(url, options).map_err(|error| Failure::DatabaseUrl { url_source: source.clone(), error })
}
