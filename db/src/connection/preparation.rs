//! What is said on a connection before its first use.

use std::time::Duration;

use tokio_postgres::Client;

/// For a session that counts distinct users over raw events, which before TimescaleDB 2.29.2 could be wrong in partly compressed chunks by
/// way of this feature.
pub(crate) const COUNT_SOUNDLY: &str = "select set_config('timescaledb.enable_skipscan', 'off', false)";

/// For a session that works on raw events. Without its library, and while a backup is restored, TimescaleDB takes no part in what a session does: events
/// would go where it does not look for them afterwards, and those in chunks would not all be found. Which it is stays so for as long as the session lives.
pub(crate) const REFUSE_TO_MISS_CHUNKS: &str = "do $$ begin \
    if exists ( \
        select from pg_catalog.pg_class \
        where relname = 'foreign_chunks' and relnamespace = pg_catalog.to_regnamespace('analytics') \
    ) and current_setting('timescaledb.restoring', true) is distinct from 'off' then \
        if current_setting('timescaledb.restoring', true) is null then \
            raise exception 'extension \"timescaledb\" must be preloaded' using errcode = '55000'; \
        end if; \
        raise exception 'a backup is being restored into this database' using errcode = '55000', \
            hint = coalesce((select format('It is done with `select %s.timescaledb_post_restore()`.', extnamespace::regnamespace) \
                from pg_extension where extname = 'timescaledb'), ''); \
    end if; \
end $$";

/// What a server, a database or a login may have set otherwise, and what we read, write or say would depend on: how values and names are written, how long
/// a statement may wait, what the server says beside its answers, and in which language. Read-only transactions are not among it: whoever asks for those
/// means it. Nor is what makes queries faster or slower.
const PINNED: &str = "('bytea_output', 'hex'), ('client_min_messages', 'notice'), ('datestyle', 'ISO, MDY'), ('exit_on_error', 'off'), \
     ('extra_float_digits', '1'), ('idle_in_transaction_session_timeout', '60000'), ('idle_session_timeout', '0'), ('intervalstyle', 'postgres'), ('lc_messages', 'C'), ('lock_timeout', '0'), \
     ('quote_all_identifiers', 'off'), ('row_security', 'on'), ('session_replication_role', 'origin'), ('standard_conforming_strings', 'on'), \
     ('timezone', 'UTC'), ('transaction_timeout', '0'), ('transform_null_equals', 'off')";

/// For how long settings are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Session,
    /// Behind a pooler, and in WebAssembly, others go on with the session.
    Transaction,
}

/// The statements that make a session the same whatever server, database and login have set, with a limit that the server keeps even if this process is gone.
///
/// The extension is called without its schema, because a procedure that commits on its way can set no path of its own. So its schema is searched, and no
/// other that somebody else may make objects in.
pub(crate) fn pin_settings(scope: Scope, statement_timeout: Duration) -> String {
    let (set, is_local) = match scope {
        Scope::Session => ("set", false),
        Scope::Transaction => ("set local", true),
    };
    // Some of the names are not those of every version, and some are for superusers.
    format!(
        "{set} statement_timeout = {}; {set} search_path = pg_catalog, pg_temp; \
         select set_config(s.name, p.value, {is_local}) from (values {PINNED}) as p (name, value) join pg_settings as s on lower(s.name) = p.name \
         where s.context = 'user' or (select rolsuper from pg_roles where rolname = current_user); \
         {}",
        statement_timeout.as_millis(),
        search_the_extension(is_local)
    )
}

/// To be run again where the extension is made only after the session was prepared.
pub(crate) fn search_the_extension(is_local: bool) -> String {
    format!(
        "select set_config('search_path', quote_ident(n.nspname) || ', pg_temp', {is_local}) \
         from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'timescaledb'"
    )
}

/// Durable commits, whatever the server's default is; a new snapshot for each statement, which the functions of the schema count
/// on; and an end to sessions whose machine is gone without a word, so that the next settler does not wait hours for the last one's lock.
pub(crate) async fn prepare_session(client: &Client, statement_timeout: Duration) -> Result<(), tokio_postgres::Error> {
    client
        .batch_execute(&format!(
            "{}; select set_config('synchronous_commit', 'on', false) \
             where current_setting('synchronous_commit') in ('off', 'local'); \
             set default_transaction_isolation = 'read committed'; \
             set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3",
            pin_settings(Scope::Session, statement_timeout)
        ))
        .await
}
