//! Looks for settings that let daemons store nothing.

use crate::{Examination, StoreError, StoreOptions};

/// Whose transactions are read-only unless they ask for something else, which daemons do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOnlyLogins {
    /// Whether every login's are that is not told otherwise: by the server, or by the database.
    pub everybody: bool,
    /// The logins of daemons whose transactions are.
    pub daemons: Vec<String>,
}

/// A login's own setting goes before that of all, and one of the database before one of the server. What the server's file says is not seen by a login that
/// has a setting of its own. Roles are those of all databases of a server: of its daemons' logins, those count that are connected to this one, that asks, and
/// that have a setting for it.
const LOOK: &str = "\
    with settings as ( \
        select s.setrole, s.setdatabase, split_part(c, '=', 2)::boolean as is_on \
        from pg_db_role_setting as s, unnest(s.setconfig) as c \
        where s.setdatabase in (0, (select oid from pg_database where datname = current_database())) \
            and split_part(c, '=', 1) = 'default_transaction_read_only' \
    ), everybody as ( \
        select coalesce( \
            (select is_on from settings where setrole = 0 order by setdatabase desc limit 1), \
            (select reset_val::boolean from pg_settings \
             where name = 'default_transaction_read_only' and source not in ('user', 'database user', 'client')), \
            false) as is_on \
    ), daemons as ( \
        select r.oid, r.rolname from pg_roles as r \
        where exists (select from pg_stat_activity as a \
                where a.usesysid = r.oid and a.datname = current_database() and a.application_name = $1) \
            or not r.rolsuper \
                and (r.rolname = current_user or exists (select from settings where setrole = r.oid and setdatabase <> 0)) \
                and (pg_has_role(r.oid, to_regrole('analytics_daemon'), 'member') \
                    or r.oid = (select nspowner from pg_namespace where nspname = 'analytics')) \
    ) \
    select e.is_on, array( \
        select d.rolname::text from daemons as d \
        where coalesce((select is_on from settings where setrole = d.oid order by setdatabase desc limit 1), e.is_on) \
        order by 1) \
    from everybody as e";

impl Examination {
    /// Whose transactions are read-only by a setting.
    pub async fn read_only_logins(&self) -> Result<ReadOnlyLogins, StoreError> {
        self.look(async |transaction| {
            let row = transaction.query_one(LOOK, &[&StoreOptions::default().application_name]).await?;
            Ok(ReadOnlyLogins { everybody: row.get(0), daemons: row.get(1) })
        })
        .await
    }
}
