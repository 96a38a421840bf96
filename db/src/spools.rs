use crate::{Store, StoreError};

/// A place in a daemon's spool: all records of the name up to it are stored with the batch that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolPosition<'a> {
    /// The name that the records have, which is drawn at random: one spool may have several, one behind the other.
    pub spool: &'a str,
    /// Up to which record those of the name were stored before the batch; 0 for none. Where that is no longer so, the batch is not stored.
    pub from: i64,
    /// The number of the last record of the batch. Numbers begin at 1 and only grow.
    pub to: i64,
}

impl Store {
    /// Up to which record a spool is stored; 0 for one that the database has never heard of.
    pub async fn spool_stored_to(&self, spool: &str) -> Result<i64, StoreError> {
        self.read(async |client| {
            let row = client.query_opt("select stored_to from analytics.spools where id = $1", &[&spool]).await?;
            Ok(row.map_or(0, |row| row.get(0)))
        })
        .await
    }

    /// Notes that a spool is dealt with up to a place from which nothing had to be stored. False, and nothing is noted, where it does not
    /// stand any more where the caller believes.
    pub async fn advance_spool(&self, at: SpoolPosition<'_>) -> Result<bool, StoreError> {
        self.on_client(async |client| {
            let advance = "select analytics.advance_spool($1, $2, $3)";
            Ok(client.query_one(advance, &[&at.spool, &at.from, &at.to]).await?.get(0))
        })
        .await
    }
}
