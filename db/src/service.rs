//! Which managed service runs a server, by what only that service has.

use std::{collections::BTreeSet, fmt};

use tokio_postgres::GenericClient;

use crate::StoreError;

/// A managed service, where the docs have a section about it (`docs/operate/databases.md`) or its name alone helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Service {
    Aiven,
    AlloyDb,
    Aurora,
    Azure,
    CloudSql,
    DigitalOcean,
    Neon,
    Rds,
    Supabase,
    TigerCloud,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aiven => "Aiven",
            Self::AlloyDb => "Google AlloyDB",
            Self::Aurora => "Amazon Aurora",
            Self::Azure => "Azure Database for PostgreSQL",
            Self::CloudSql => "Google Cloud SQL",
            Self::DigitalOcean => "DigitalOcean",
            Self::Neon => "Neon",
            Self::Rds => "Amazon RDS",
            Self::Supabase => "Supabase",
            Self::TigerCloud => "Tiger Cloud (Timescale)",
        })
    }
}

/// What a service is recognized by. The first that a server has decides: a service that is built on another, or has more than another, stands before it.
const SIGNS: &[(&str, Service)] = &[
    ("function aurora_version", Service::Aurora),
    ("role rds_superuser", Service::Rds),
    ("setting rds.extensions", Service::Rds),
    ("role azure_pg_admin", Service::Azure),
    ("setting azure.extensions", Service::Azure),
    ("role alloydbsuperuser", Service::AlloyDb),
    ("role cloudsqlsuperuser", Service::CloudSql),
    ("role neon_superuser", Service::Neon),
    ("role supabase_admin", Service::Supabase),
    // Aiven also runs services whose administrator is called tsdbadmin.
    ("extension aiven_extras", Service::Aiven),
    ("role avnadmin", Service::Aiven),
    ("role tsdbadmin", Service::TigerCloud),
    ("role doadmin", Service::DigitalOcean),
];

/// The service that runs the server, if it has a sign of one. Whatever login asks, all of these may be looked at.
pub(crate) async fn recognize(client: &impl GenericClient) -> Result<Option<Service>, StoreError> {
    // `current_setting` fails for a setting that this login may not see; the view leaves that out.
    let statement = "select 'role ' || rolname from pg_roles \
                     union select 'setting ' || name from pg_settings where name like '%.%' \
                     union select 'setting ' || split_part(s, '=', 1) from pg_db_role_setting, unnest(setconfig) as s (s) \
                         where setdatabase in (0, (select oid from pg_database where datname = current_database())) \
                     union select 'extension ' || name from pg_available_extensions \
                     union select 'function ' || proname from pg_proc where pronamespace = 'pg_catalog'::regnamespace";
    let named: Vec<&str> = SIGNS.iter().map(|(sign, _)| *sign).collect();
    let statement = format!("select sign from ({statement}) as signs (sign) where sign = any ($1)");
    let seen = client.query(&statement, &[&named]).await?.iter().map(|row| row.get(0)).collect();
    Ok(judge(&seen))
}

fn judge(seen: &BTreeSet<String>) -> Option<Service> {
    SIGNS.iter().find(|(sign, _)| seen.contains(*sign)).map(|(_, service)| *service)
}

#[cfg(test)]
mod tests {
    use super::{Service, judge};

    #[test]
    fn a_service_is_told_by_what_only_it_has_and_the_more_special_sign_decides() {
        for (seen, service) in [
            (&["role postgres"][..], None),
            (&["role rds_superuser", "setting rds.extensions"], Some(Service::Rds)),
            (&["role rds_superuser", "function aurora_version"], Some(Service::Aurora)),
            (&["setting azure.extensions"], Some(Service::Azure)),
            (&["role alloydbsuperuser", "role cloudsqlsuperuser"], Some(Service::AlloyDb)),
            (&["role neon_superuser"], Some(Service::Neon)),
            (&["role supabase_admin"], Some(Service::Supabase)),
            (&["role tsdbadmin"], Some(Service::TigerCloud)),
            (&["role tsdbadmin", "extension aiven_extras"], Some(Service::Aiven)),
        ] {
            assert_eq!(judge(&seen.iter().map(|&sign| sign.to_owned()).collect()), service, "{seen:?}");
        }
    }
}
