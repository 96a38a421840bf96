//! What there is once for a counter is set in its first shard. Of that, the other shards have copies of what their own functions look at: the sites, and the
//! instant before which raw events are due.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use crate::{Shards, ShardsError, Store, StoreError};

/// The sites of the first shard, as the others take them.
struct SiteColumns {
    ids: Vec<i32>,
    names: Vec<String>,
    created: Vec<DateTime<Utc>>,
    archived: Vec<Option<DateTime<Utc>>>,
    deleted: Vec<Option<DateTime<Utc>>>,
}

impl SiteColumns {
    async fn read(first: &Store) -> Result<Self, StoreError> {
        let rows =
            first.read_rows("select id, name, created_at, archived_at, deleted_at from analytics.sites", &[]).await?;
        let column = |column| rows.iter().map(move |row: &Row| row.get::<_, Option<DateTime<Utc>>>(column));
        Ok(Self {
            ids: rows.iter().map(|row| row.get(0)).collect(),
            names: rows.iter().map(|row| row.get(1)).collect(),
            created: rows.iter().map(|row| row.get(2)).collect(),
            archived: column(3).collect(),
            deleted: column(4).collect(),
        })
    }
}

impl Shards {
    /// What the names of visitors without a script are derived with.
    pub async fn visitor_salt(&self) -> Result<String, ShardsError> {
        self.first().visitor_salt().await.map_err(|error| self.error(0, error))
    }

    /// How often the sites of the first shard were changed, or fewer times.
    pub async fn site_changes(&self) -> Result<i64, ShardsError> {
        let row = self.first().read_row("select analytics.site_changes()", &[]).await;
        Ok(row.map_err(|error| self.error(0, error))?.get(0))
    }

    /// Copies the sites of the first shard to the others. One that is away keeps none of the rest from getting them. Where the first was restored from an
    /// older backup, it gives none of the numbers again that the others know.
    pub async fn copy_sites(&self) -> Result<(), ShardsError> {
        self.reserve_sites().await?;
        let SiteColumns { ids, names, created, archived, deleted } =
            SiteColumns::read(self.first()).await.map_err(|error| self.error(0, error))?;
        let mut copied = Ok(());
        for (shard, store) in self.iter().enumerate().skip(1) {
            let take = "select analytics.take_sites($1, $2, $3, $4, $5)";
            let taken = store.row(take, &[&ids, &names, &created, &archived, &deleted]).await;
            copied = copied.and(taken.map(drop).map_err(|error| self.error(shard, error)));
        }
        copied
    }

    /// Sees to it that the first gives no number to a new site that another shard knows: it may have been restored from an older backup.
    pub async fn reserve_sites(&self) -> Result<(), ShardsError> {
        let mut known = None;
        for store in self.iter().skip(1) {
            // One that is away is told of below.
            if let Ok(greatest) = store.read_row("select max(id) from analytics.sites", &[]).await {
                known = known.max(greatest.get::<_, Option<i32>>(0));
            }
        }
        if known.is_some() {
            let reserve = "select analytics.reserve_sites($1)";
            self.first().read_rows(reserve, &[&known]).await.map_err(|error| self.error(0, error))?;
        }
        Ok(())
    }

    /// Copies the setting of retention, and what is due by it, to the others.
    pub async fn copy_retention(&self) -> Result<(), ShardsError> {
        let read = "select retention::text, due_before from analytics.settings";
        let row = self.first().read_row(read, &[]).await.map_err(|error| self.error(0, error))?;
        let (retention, due_before): (Option<String>, DateTime<Utc>) = (row.get(0), row.get(1));
        for (shard, store) in self.iter().enumerate().skip(1) {
            let take = "select analytics.take_retention($1::text::interval, $2)";
            store.row(take, &[&retention, &due_before]).await.map_err(|error| self.error(shard, error))?;
        }
        Ok(())
    }
}
