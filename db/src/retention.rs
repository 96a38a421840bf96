use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{Store, StoreError};

/// How long raw events are kept, and in which form. Settled counts are kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Raw events older than this are deleted, in whole UTC days. None: never. At least a day.
    pub keep: Option<Duration>,
    /// Chunks that ended longer ago than this are turned into columns. None: never. Only with TimescaleDB.
    pub columnstore_after: Option<Duration>,
}

impl Retention {
    /// What is in force.
    pub async fn read(store: &Store) -> Result<Self, StoreError> {
        let row = store
            .on_client(async |client| {
                Ok(client
                    .query_one(
                        "select extract(epoch from retention)::bigint, extract(epoch from analytics.columnstore_after())::bigint \
                         from analytics.settings",
                        &[],
                    )
                    .await?)
            })
            .await?;
        let seconds =
            |column| row.get::<_, Option<i64>>(column).and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
        Ok(Self { keep: seconds(0), columnstore_after: seconds(1) })
    }

    /// The instant before which no event is accepted: the beginning of the UTC day that [`Self::keep`] reaches back to, or a later one if less was
    /// kept before; none if everything always was.
    pub async fn accepts_from(store: &Store) -> Result<Option<DateTime<Utc>>, StoreError> {
        let statement =
            "select nullif(analytics.takes_from(accepts_from, retention), timestamptz 'epoch') from analytics.settings";
        store.on_client(async |client| Ok(client.query_one(statement, &[]).await?.get(0))).await
    }

    /// Puts this in force. Nothing is deleted at once: the settler does that.
    pub async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let seconds = |d: Option<Duration>| d.map(|d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        store
            .on_client(async |client| {
                let transaction = client.transaction().await?;
                transaction
                    .execute(
                        "update analytics.settings set retention = $1::bigint * interval '1 second'",
                        &[&seconds(self.keep)],
                    )
                    .await?;
                transaction
                    .execute(
                        "call analytics.set_columnstore_after($1::bigint * interval '1 second')",
                        &[&seconds(self.columnstore_after)],
                    )
                    .await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// Deletes the raw events that are past their time, up to the first day that has an hour that is not settled. Returns the instant before which
    /// they are deleted.
    pub async fn apply(store: &Store) -> Result<DateTime<Utc>, StoreError> {
        let client = store.maintenance_client().await?;
        store
            .bounded_maintenance(async {
                let kept_from: DateTime<Utc> =
                    client.query_one("select analytics.advance_retention()", &[]).await?.get(0);
                client.execute("call analytics.drop_events_before($1)", &[&kept_from]).await?;
                client.execute("select analytics.forget_expired_keys()", &[]).await?;
                Ok(kept_from)
            })
            .await
    }
}
