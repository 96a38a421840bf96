use std::time::Duration;

use db::{Shards, ShardsError, StoreOptions, schema};

use crate::{
    failure::Failure,
    settings::{Databases, Named},
};

/// How to give a database to a command that has none.
pub(crate) const HOW_TO_GIVE: &str = "add --database-url postgres://USER:PASSWORD@HOST:PORT/DATABASE, set DATABASE_URL, or write database_url in a \
                                      profile; add --embedded for the trial of `analyticsd --embedded`; name several shards with --shard, \
                                      ANALYTICSD_SHARDS or shards";

/// Which databases a command needs. All that answer are checked in any case: none may be another than the settings mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// All of them.
    All,
    /// The first; others may be away.
    First,
    /// All of them, perhaps still without an identity.
    AllOrNew,
    /// None is checked here: the command looks at them as they are.
    Unchecked,
}

/// Calls with the databases, if any were given, once it is known that they are those that the settings mean.
pub(crate) async fn with_databases<T>(
    databases: Option<Databases>,
    needs: Needs,
    call: impl AsyncFnOnce(&Shards) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(Databases { urls, named }) = databases else {
        return Err(Failure::CannotRun(format!("this command needs a database; {HOW_TO_GIVE}")));
    };
    let shards = open(&urls, &named, StoreOptions::default().connect_timeout)?;
    let called = async {
        match needs {
            Needs::All => shards.verify().await?,
            Needs::First => shards.verify_first().await?,
            Needs::AllOrNew => shards.verify_or_new().await?,
            Needs::Unchecked => {}
        }
        call(&shards).await
    };
    called.await.map_err(|failure| failure.on_databases(named))
}

/// Opens no connection yet.
pub(crate) fn open(urls: &[String], named: &Named, connect_timeout: Duration) -> Result<Shards, Failure> {
    let options = StoreOptions {
        application_name: "analytics-cli".to_owned(),
        max_connections: 1,
        connect_timeout,
        ..StoreOptions::default()
    };
    Shards::new(urls, &options).map_err(|error| Failure::CannotRun(format!("{}: {error}", named.source)))
}

/// Refuses schemas that this program cannot use.
pub(crate) async fn check_schemas(shards: &Shards) -> Result<(), Failure> {
    for shard in 0..shards.len() {
        check_schema(shards, shard).await?;
    }
    Ok(())
}

/// Refuses the schema of the first shard if this program cannot use it.
pub(crate) async fn check_first_schema(shards: &Shards) -> Result<(), Failure> {
    check_schema(shards, 0).await
}

async fn check_schema(shards: &Shards, shard: usize) -> Result<(), Failure> {
    match schema::status(&shards[shard]).await.at(shards, shard)?.complaint() {
        Some(complaint) => Err(Failure::CannotRun(format!("{}{complaint}", shards.place(shard)))),
        None => Ok(()),
    }
}

/// Which shard of how many, for output; none for a counter of one database.
pub(crate) fn label(shards: &Shards, shard: usize) -> Option<String> {
    (shards.len() > 1).then(|| format!("shard {shard} of {}", shards.len()))
}

/// Says in an error which shard it is of.
pub(crate) trait AtShard<T> {
    fn at(self, shards: &Shards, shard: usize) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> AtShard<T> for Result<T, E> {
    fn at(self, shards: &Shards, shard: usize) -> Result<T, Failure> {
        self.map_err(|error| error.into().at(shards.place(shard)))
    }
}

impl From<ShardsError> for Failure {
    fn from(error: ShardsError) -> Self {
        match error {
            ShardsError::Store(place, error) => Self::from(error).at(place),
            ShardsError::Schema(place, error) => Self::from(*error).at(place),
            other => Self::CannotRun(other.to_string()),
        }
    }
}
