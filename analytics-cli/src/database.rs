use clap::Args;
use db::{Store, StoreOptions};

use crate::failure::Failure;

/// Which database, for the commands that speak to it themselves.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// The database, as postgres://USER:PASSWORD@HOST:PORT/DATABASE.
    #[arg(long, global = true, display_order = 99, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

impl DatabaseArgs {
    /// Prepares to connect; nothing is opened yet.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        let Some(url) = &self.database_url else {
            return Err(Failure::CannotRun(
                "no database was given; add --database-url postgres://USER:PASSWORD@HOST:PORT/DATABASE, or set DATABASE_URL".to_owned(),
            ));
        };
        let options = StoreOptions {
            application_name: "analytics-cli".to_owned(),
            max_connections: 1,
            ..StoreOptions::default()
        };
        Ok(Store::new(url, options)?)
    }
}
