//! What there is once for a counter is set in its first shard. Of that, the other shards have copies of what their own functions look at: the sites, and the
//! instant before which raw events are due.

use chrono::{DateTime, Utc};
use model::SiteName;
use tokio_postgres::Row;

use crate::{CreatedSite, Shards, ShardsError, Sites, Store, StoreError};

/// Sites as one shard has them, for another.
#[derive(Default)]
struct SiteColumns {
    ids: Vec<i32>,
    names: Vec<String>,
    created: Vec<DateTime<Utc>>,
    archived: Vec<Option<DateTime<Utc>>>,
    deleted: Vec<Option<DateTime<Utc>>>,
}

impl SiteColumns {
    /// Adds those that a shard has.
    async fn read(&mut self, store: &Store) -> Result<(), StoreError> {
        let read = "select id, name, created_at, archived_at, deleted_at from analytics.sites";
        for row in store.read_rows(read, &[]).await? {
            self.ids.push(row.get(0));
            self.names.push(row.get(1));
            self.created.push(row.get(2));
            self.archived.push(row.get(3));
            self.deleted.push(row.get(4));
        }
        Ok(())
    }

    /// Gives them to a function.
    async fn give(&self, store: &Store, to: &str) -> Result<Row, StoreError> {
        let Self { ids, names, created, archived, deleted } = self;
        let call = format!("select analytics.{to}($1, $2, $3, $4, $5)");
        store.row(&call, &[ids, names, created, archived, deleted]).await
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

    /// Makes a site, unless there are `most` already. Of several databases all must answer: one may know a site of that name which the first lost.
    pub async fn create_site(&self, name: &SiteName, most: Option<u32>) -> Result<CreatedSite, ShardsError> {
        self.recover_sites().await?;
        Sites(self.first()).create(name, most).await.map_err(|error| self.error(0, error))
    }

    /// Gives back to the first what the others know of the sites: it may have been restored from an older backup. All must answer.
    pub async fn recover_sites(&self) -> Result<(), ShardsError> {
        let mut known = SiteColumns::default();
        for (shard, store) in self.iter().enumerate().skip(1) {
            known.read(store).await.map_err(|error| self.error(shard, error))?;
        }
        self.give_back(&known).await
    }

    async fn give_back(&self, known: &SiteColumns) -> Result<(), ShardsError> {
        if !known.ids.is_empty() {
            known.give(self.first(), "recover_sites").await.map_err(|error| self.error(0, error))?;
        }
        Ok(())
    }

    /// Copies the sites of the first shard to the others, once it has got back what they know. One that is away keeps none of the rest from getting
    /// them. Returns every failure.
    pub async fn copy_sites(&self) -> Result<(), Vec<ShardsError>> {
        let mut failures = Vec::new();
        let (mut known, mut there) = (SiteColumns::default(), Vec::new());
        for (shard, store) in self.iter().enumerate().skip(1) {
            match known.read(store).await {
                Ok(()) => there.push(shard),
                Err(error) => failures.push(self.error(shard, error)),
            }
        }
        failures.extend(self.give_back(&known).await.err());
        let mut sites = SiteColumns::default();
        if let Err(error) = sites.read(self.first()).await {
            failures.push(self.error(0, error));
            return Err(failures);
        }
        for shard in there {
            match sites.give(&self[shard], "take_sites").await.map(|row| row.get::<_, Vec<i32>>(0)) {
                Ok(others) if others.is_empty() => {}
                Ok(others) => failures.push(ShardsError::OtherSites(self.place(shard), others)),
                Err(error) => failures.push(self.error(shard, error)),
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
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
