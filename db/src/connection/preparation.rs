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
            hint = 'It is done with `select timescaledb_post_restore()`.'; \
    end if; \
end $$";

/// Durable commits, whatever the server's default is; a new snapshot for each statement, which the functions of the schema count
/// on; a limit that the server keeps even if this process is gone; and an end to sessions whose machine is gone without a word, so that
/// the next settler does not wait hours for the last one's lock.
pub(crate) async fn prepare_session(client: &Client, statement_timeout: Duration) -> Result<(), tokio_postgres::Error> {
    client
        .batch_execute(&format!(
            "select set_config('synchronous_commit', 'on', false) \
             where current_setting('synchronous_commit') in ('off', 'local'); \
             set default_transaction_isolation = 'read committed'; \
             set statement_timeout = {}; \
             set idle_in_transaction_session_timeout = '1min'; \
             set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3",
            statement_timeout.as_millis()
        ))
        .await
}
