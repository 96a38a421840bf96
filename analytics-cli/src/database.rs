use std::time::Duration;

use db::{Store, StoreOptions};

use crate::{
    failure::Failure,
    settings::{Setting, Source},
};

/// How to give a database to a command that has none.
pub(crate) const HOW_TO_GIVE: &str = "add --database-url postgres://USER:PASSWORD@HOST:PORT/DATABASE, set DATABASE_URL, or write database_url in a profile";

/// Calls with the database, if one was given.
pub(crate) async fn with_database<T>(
    url: Option<Setting<String>>,
    call: impl AsyncFnOnce(&Store) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(Setting { value, source }) = url else {
        return Err(Failure::CannotRun(format!("this command needs a database; {HOW_TO_GIVE}")));
    };
    call(&open(&value, &source, StoreOptions::default().connect_timeout)?)
        .await
        .map_err(|failure| failure.on_database(source))
}

/// Opens no connection yet.
pub(crate) fn open(url: &str, source: &Source, connect_timeout: Duration) -> Result<Store, Failure> {
    let options = StoreOptions {
        application_name: "analytics-cli".to_owned(),
        max_connections: 1,
        connect_timeout,
        ..StoreOptions::default()
    };
    Store::new(url, options).map_err(|error| Failure::CannotRun(format!("{source}: {error}")))
}
