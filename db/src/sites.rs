//! The table of sites.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{SiteId, SiteName};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Row, error::SqlState};

use crate::{Store, StoreError};

/// A site as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRow {
    /// Its number, which no other site ever gets.
    pub id: SiteId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it takes no events.
    pub archived_at: Option<DateTime<Utc>>,
}

/// A site as daemons know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSite {
    /// Its number.
    pub id: SiteId,
    /// Its name.
    pub name: SiteName,
    /// Whether it takes no events.
    pub is_archived: bool,
}

/// The sites that there are at one moment.
#[derive(Debug, Clone)]
pub struct LiveSites {
    /// How often the table had been changed, or fewer times.
    pub changes: i64,
    /// The sites that are not deleted.
    pub sites: Vec<LiveSite>,
}

/// What came of making a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreatedSite {
    /// It is there now.
    Created(SiteId),
    /// There is one of that name.
    Exists,
    /// There are as many as there may be.
    TooMany,
}

/// What came of deleting a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletedSite {
    /// It is hidden.
    Deleted,
    /// There is none of the name.
    Unknown,
    /// It is as it was, since hours were rebuilt or settled all the time.
    Busy,
}

/// What came of giving a site another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenamedSite {
    /// It has the new name.
    Renamed,
    /// There is none of the old name.
    Unknown,
    /// There is another of the new name.
    Taken,
}

/// Why `analytics.create_site` makes none.
const TOO_MANY: &str = "AN011";
/// How long a site that is to be deleted is waited for, while it is counted for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Long beside what each try may wait, since those that store events wait with it.
const PAUSE: Duration = Duration::from_secs(1);

/// The table of sites.
#[derive(Clone, Copy)]
pub struct Sites<'a>(pub &'a Store);

impl Sites<'_> {
    /// Makes a site, unless there are `most` already. Programs do so by [`crate::Shards::create_site`], which knows the other databases of a counter.
    pub async fn create(self, name: &SiteName, most: Option<u32>) -> Result<CreatedSite, StoreError> {
        let most = most.map(|most| i32::try_from(most).unwrap_or(i32::MAX));
        let created = self.0.row("select analytics.create_site($1, $2)", &[&name.as_str(), &most]).await;
        match created {
            Ok(row) => Ok(site_in(&row, 0).map_or(CreatedSite::Exists, CreatedSite::Created)),
            Err(error) if error.code() == Some(TOO_MANY) => Ok(CreatedSite::TooMany),
            Err(error) => Err(error),
        }
    }

    /// The sites by name.
    pub async fn list(self) -> Result<Vec<SiteRow>, StoreError> {
        let list = "select id, name, created_at, archived_at from analytics.list_sites()";
        let rows = self.0.read_rows(list, &[]).await?;
        let read = |row: &Row| {
            Some(SiteRow { id: site_in(row, 0)?, name: row.get(1), created_at: row.get(2), archived_at: row.get(3) })
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// The number of a site; none if there is none of the name.
    pub async fn find(self, name: &SiteName) -> Result<Option<SiteId>, StoreError> {
        let find = "select (select id from analytics.list_sites() where name = $1)";
        Ok(site_in(&self.0.read_row(find, &[&name.as_str()]).await?, 0))
    }

    /// Gives a site another name.
    pub async fn rename(self, name: &SiteName, new_name: &SiteName) -> Result<RenamedSite, StoreError> {
        let rename = "select analytics.rename_site($1, $2)";
        match self.0.row(rename, &[&name.as_str(), &new_name.as_str()]).await {
            Ok(row) => Ok(site_in(&row, 0).map_or(RenamedSite::Unknown, |_| RenamedSite::Renamed)),
            Err(error) if error.code() == Some(SqlState::UNIQUE_VIOLATION.code()) => Ok(RenamedSite::Taken),
            Err(error) => Err(error),
        }
    }

    /// Lets a site take no events any more, or take them again. False if there is none of the name.
    pub async fn archive(self, name: &SiteName, is_archived: bool) -> Result<bool, StoreError> {
        let archive = "select analytics.archive_site($1, $2)";
        Ok(site_in(&self.0.row(archive, &[&name.as_str(), &is_archived]).await?, 0).is_some())
    }

    /// Hides a site for ever. What is stored of it is deleted in steps by the settler.
    pub async fn delete(self, name: &SiteName) -> Result<DeletedSite, StoreError> {
        let began = Instant::now();
        loop {
            match self.0.row("select analytics.delete_site($1)", &[&name.as_str()]).await {
                Err(error) if error.code() == Some(SqlState::LOCK_NOT_AVAILABLE.code()) => {
                    if began.elapsed() >= PATIENCE {
                        return Ok(DeletedSite::Busy);
                    }
                    sleep(PAUSE).await;
                }
                deleted => return Ok(site_in(&deleted?, 0).map_or(DeletedSite::Unknown, |_| DeletedSite::Deleted)),
            }
        }
    }

    /// All that are not deleted, unless the table was changed no more often than the caller knows.
    pub async fn changed_since(self, known: Option<i64>) -> Result<Option<LiveSites>, StoreError> {
        self.0
            .read(async |client| {
                let statement = client.prepare_cached("select analytics.site_changes()").await?;
                // Asked for before the sites: if they change in between, they are read once more than needed, and never once less.
                let changes: Option<i64> = client.query_one(&statement, &[]).await?.get(0);
                let changes = changes.ok_or(StoreError::Inconsistent("how often sites were changed is not there"))?;
                if known == Some(changes) {
                    return Ok(None);
                }
                let rows = client.query("select id, name, is_archived from analytics.live_sites()", &[]).await?;
                Ok(Some(LiveSites { changes, sites: rows.iter().filter_map(live).collect() }))
            })
            .await
    }
}

/// A site of the table. None if its name is one that this build does not accept, so that nobody can use it.
fn live(row: &Row) -> Option<LiveSite> {
    let name = SiteName::new(row.get::<_, &str>(1)).ok()?;
    Some(LiveSite { id: site_in(row, 0)?, name, is_archived: row.get(2) })
}

/// None where there is no site.
fn site_in(row: &Row, column: usize) -> Option<SiteId> {
    SiteId::new(row.get::<_, Option<i32>>(column)?)
}
