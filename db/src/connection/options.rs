//! What a [`Store`](crate::Store) may use.

use std::time::Duration;

/// Limits of a [`Store`](crate::Store). All are bounds, none is a delay.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The name that the connections carry in `pg_stat_activity`.
    pub application_name: String,
    /// The most connections for anything but reading counts. As many again may be open because a call was given up that the server goes on with; those
    /// of the settler, of deleting old events and of reopening in three lanes come on top, five at most.
    pub max_connections: usize,
    /// Whether raw events are worked on, so that sessions are refused in which TimescaleDB would not find all of them.
    pub works_on_raw_events: bool,
    /// The most connections for reading counts, which go on when all others wait for commits.
    pub max_read_connections: usize,
    /// The longest that waiting for a free connection may take, and that one of several addresses of the database may keep silent, unless its URL names
    /// a `connect_timeout`. A single address may take three times as long.
    pub connect_timeout: Duration,
    /// The longest that a read of counts may take, a second try on a new connection included.
    pub read_timeout: Duration,
    /// The longest that any other statement, such as the storing of a batch, may take.
    pub statement_timeout: Duration,
    /// The longest that a refresh of the aggregate, or the rebuilding of an hour, may take.
    pub maintenance_timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            application_name: "analyticsd".to_owned(),
            max_connections: 8,
            works_on_raw_events: true,
            max_read_connections: 4,
            connect_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_millis(2_500),
            statement_timeout: Duration::from_secs(10),
            maintenance_timeout: Duration::from_mins(10),
        }
    }
}
