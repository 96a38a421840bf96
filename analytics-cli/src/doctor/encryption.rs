use super::finding::Finding;

pub(super) const ENCRYPTION: &str = "encryption";

/// Whether somebody between this machine and the database could read or change what is said. It depends on the URL alone: a server that proves its name
/// today, unasked, need not tomorrow.
pub(super) fn look(database_url: &str) -> Finding {
    // A URL that cannot be read was refused before.
    judge(&db::unproven_hosts(database_url).unwrap_or_default())
}

fn judge(unproven: &[String]) -> Finding {
    if unproven.is_empty() {
        return Finding::ok(ENCRYPTION, "the database is on this machine, or has to prove its host name");
    }
    Finding::warning(
        ENCRYPTION,
        format!(
            "{} need not prove that it is the database: whoever stands between can read and change everything",
            unproven.join(", ")
        ),
        "ask for sslmode=verify-full in the URL of the database, with sslrootcert=FILE if the authority is not one that the system trusts; also in the daemons'",
    )
}

#[cfg(test)]
mod tests {
    use super::look;
    use crate::doctor::finding::Health;

    #[test]
    fn a_database_beyond_this_machine_has_to_prove_its_name() {
        for (url, health) in [
            ("postgres://127.0.0.1/db", Health::Ok),
            ("host=/var/run/postgresql", Health::Ok),
            ("postgres://db.example/db?sslmode=verify-full", Health::Ok),
            ("postgres://db.example/db?sslmode=require", Health::Warning),
            ("postgres://db.example/db", Health::Warning),
        ] {
            assert_eq!(look(url).health, health, "{url}");
        }
    }
}
