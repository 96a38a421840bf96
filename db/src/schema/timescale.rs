//! Whether the server has TimescaleDB in a form that the schema can use.

use tokio_postgres::{Client, error::SqlState};

use crate::{connection::search_the_extension, describe};

use super::SchemaError;

/// The first version of the extension in which count(distinct) over partly compressed chunks is right.
pub const OLDEST_SOUND_TIMESCALE: [u32; 3] = [2, 29, 2];

pub(super) async fn offers_timescale(client: &Client) -> Result<bool, SchemaError> {
    Ok(client
        .query_one("select exists (select from pg_available_extensions where name = 'timescaledb')", &[])
        .await?
        .get(0))
}

const PRELOAD: &str = "Set shared_preload_libraries = 'timescaledb' in postgresql.conf, and restart the server";
const CREATE: &str = "create extension if not exists timescaledb";
/// Sessions of ours search no schema that it could be made in.
const WHERE: &str = "schema public";

/// Makes sure that the extension is there, in the edition that has continuous aggregates. Returns what this login may not do for it, in the order in
/// which an administrator does it: statements, and comments on what is no statement.
pub(super) async fn prepare_timescale(client: &Client) -> Result<Vec<String>, SchemaError> {
    // Only where the extension is made can its edition be asked for, and one that cannot be used is not to stay.
    client.batch_execute("begin").await?;
    let made = make(client).await;
    let end = if matches!(&made, Ok(lacking) if lacking.is_empty()) { "commit" } else { "rollback" };
    let ended = client.batch_execute(end).await;
    // Where the library is not loaded, the server ends the session with the error that says so.
    let lacking = made?;
    ended?;
    if !lacking.is_empty() {
        return Ok(lacking);
    }
    let version: String =
        client.query_one("select extversion from pg_extension where extname = 'timescaledb'", &[]).await?.get(0);
    if !is_sound_timescale(&version) {
        tracing::warn!(
            version,
            "this TimescaleDB is older than 2.29.2, before which count(distinct) could be wrong in partly compressed chunks; \
             hours that it miscounts would stay open. Upgrade it for production"
        );
    }
    be_found(client).await
}

/// Makes the extension, in a transaction.
async fn make(client: &Client) -> Result<Vec<String>, SchemaError> {
    let was_loaded = is_loaded(client).await?;
    match client.batch_execute(&format!("{CREATE} {WHERE}")).await {
        Ok(()) => {}
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            // The server would say that it is not loaded only after somebody did what this login may not.
            let preload = (!was_loaded).then(|| format!("-- {PRELOAD}"));
            return Ok(preload.into_iter().chain([CREATE.to_owned()]).collect());
        }
        Err(error) => {
            // Its hint is longer than what is to be done.
            let reason = describe(&error).lines().next().unwrap_or_default().to_owned();
            let remedy = if reason.contains("must be preloaded") {
                PRELOAD.to_owned()
            } else {
                format!("Let whoever administers the server allow the extension and run `{CREATE}` in this database")
            };
            return Err(SchemaError::UnusableTimescale { reason, remedy });
        }
    }
    // Where it was made before, nothing has asked for its library yet.
    if !is_loaded(client).await? {
        let reason = "it is installed, and the server does not load it".to_owned();
        return Err(SchemaError::UnusableTimescale { reason, remedy: PRELOAD.to_owned() });
    }
    let license: Option<String> =
        client.query_one("select current_setting('timescaledb.license', true)", &[]).await?.get(0);
    match license.as_deref() {
        Some("timescale") => Ok(Vec::new()),
        other => Err(SchemaError::UnusableTimescale {
            reason: format!(
                "timescaledb.license is {}, and the Apache-only edition has no continuous aggregates",
                other.unwrap_or("not set")
            ),
            remedy: "Install the community edition and set timescaledb.license = 'timescale'".to_owned(),
        }),
    }
}

async fn is_loaded(client: &Client) -> Result<bool, SchemaError> {
    let statement = "select exists (select from pg_settings where name like 'timescaledb.%')";
    Ok(client.query_one(statement, &[]).await?.get(0))
}

/// What is needed for this login to call the functions of the extension. Where it may let others do so, it lets the roles that need to: see
/// `roles/needed_rights.sql`.
async fn be_found(client: &Client) -> Result<Vec<String>, SchemaError> {
    client.batch_execute(&search_the_extension(false)).await?;
    let rows = client
        .query(
            "select format('grant usage on schema %I to public', n.nspname) \
             from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'timescaledb' \
             and not pg_has_role(n.nspowner, 'usage') \
             and not exists (select from aclexplode(n.nspacl) as a where a.grantee = 0 and a.privilege_type = 'USAGE')",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether a version of the extension counts distinct users right in every chunk.
pub fn is_sound_timescale(version: &str) -> bool {
    timescale_version(version) >= OLDEST_SOUND_TIMESCALE
}

/// The numbers of a version such as `2.23.0-dev`; what cannot be read counts as 0.
pub fn timescale_version(version: &str) -> [u32; 3] {
    let numbers = version.split('-').next().unwrap_or_default();
    let mut parts = numbers.split('.').map(|number| number.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::is_sound_timescale;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, sound) in
            [("2.23.0-dev", false), ("2.28.3", false), ("2.29.2", true), ("2.30.0-dev", true), ("3.0", true)]
        {
            assert_eq!(is_sound_timescale(version), sound, "{version}");
        }
    }
}
