//! Whether the server has TimescaleDB in a form that the schema can use.

use tokio_postgres::Client;

use crate::describe;

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

/// Makes sure that the extension is there, in the edition that has continuous aggregates.
pub(super) async fn prepare_timescale(client: &Client) -> Result<(), SchemaError> {
    client.batch_execute("create extension if not exists timescaledb").await.map_err(|error| {
        // Its hint is longer than what is to be done.
        let reason = describe(&error).lines().next().unwrap_or_default().to_owned();
        let remedy = if reason.contains("must be preloaded") {
            PRELOAD
        } else {
            "Let a superuser run `create extension timescaledb` in this database, with \
             shared_preload_libraries = 'timescaledb' in postgresql.conf"
        };
        SchemaError::UnusableTimescale { reason, remedy: remedy.to_owned() }
    })?;
    // Where it was made before, nothing has asked for its library yet.
    let is_loaded = "select exists (select from pg_settings where name like 'timescaledb.%')";
    if !client.query_one(is_loaded, &[]).await?.get::<_, bool>(0) {
        let reason = "it is installed, and the server does not load it".to_owned();
        return Err(SchemaError::UnusableTimescale { reason, remedy: PRELOAD.to_owned() });
    }
    be_found(client).await?;
    let license: Option<String> =
        client.query_one("select current_setting('timescaledb.license', true)", &[]).await?.get(0);
    let version: String =
        client.query_one("select extversion from pg_extension where extname = 'timescaledb'", &[]).await?.get(0);
    if !is_sound_timescale(&version) {
        tracing::warn!(
            version,
            "this TimescaleDB is older than 2.29.2, before which count(distinct) could be wrong in partly compressed chunks; \
             hours that it miscounts would stay open. Upgrade it for production"
        );
    }
    match license.as_deref() {
        Some("timescale") => Ok(()),
        other => Err(SchemaError::UnusableTimescale {
            reason: format!(
                "timescaledb.license is {}, and the Apache-only edition has no continuous aggregates",
                other.unwrap_or("not set")
            ),
            remedy: "Install the community edition and set timescaledb.license = 'timescale'".to_owned(),
        }),
    }
}

/// Refuses an extension whose functions not every session of this database finds, or may call: migrations and the settler call them without naming
/// their schema.
async fn be_found(client: &Client) -> Result<(), SchemaError> {
    let lacking = client
        .query_opt(
            "select schema, concat_ws('; ', \
                 case when not is_open then format('grant usage on schema %I to public', schema) end, \
                 case when not is_searched then format('alter database %I set search_path = %s, %I', current_database(), \
                     coalesce(nullif(current_setting('search_path'), ''), '\"$user\", public'), schema) end) \
             from ( \
                 select n.nspname::text as schema, n.nspname = any (current_schemas(true)) as is_searched, \
                     exists (select from aclexplode(n.nspacl) as a where a.grantee = 0 and a.privilege_type = 'USAGE') as is_open \
                 from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'timescaledb' \
             ) as extension where not (is_searched and is_open)",
            &[],
        )
        .await?;
    let Some(row) = lacking else { return Ok(()) };
    let (schema, statements): (&str, &str) = (row.get(0), row.get(1));
    Err(SchemaError::UnusableTimescale {
        reason: format!("it is in the schema {schema}, in which not every session looks for it or may use it"),
        remedy: format!("As the owner of the database, or a superuser, run `{statements}`, and then the command again"),
    })
}

/// Whether a version of the extension counts distinct users right in every chunk.
pub fn is_sound_timescale(version: &str) -> bool {
    parse_version(version) >= OLDEST_SOUND_TIMESCALE
}

/// The numbers of a version such as `2.23.0-dev`; what cannot be read counts as 0.
fn parse_version(version: &str) -> [u32; 3] {
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
